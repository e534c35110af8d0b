/*
 * config.h - ramet.conf, as far as a client reads it.
 *
 *     [remote work]
 *     url = https://ramet.example.org/team
 *     token_file = work.token
 *
 * (and `token_plain = yes` where that token may go over plain http), then
 * `work:orders` is https://ramet.example.org/team/orders. A token file is named
 * relative to the file that names it. A section [server] belongs to the server
 * and is passed over; any other section or key is an error.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_CONFIG_H
#define RAMET_CLIENT_REMOTE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "client/remote/remote.h"
#include "core/err.h"

#define RAMET_CONFIG_BYTES_MAX (64u << 10)
#define RAMET_CONFIG_REMOTES_MAX 64u
#define RAMET_TOKEN_MAX 4096u

struct ramet_config;
struct ramet_url;

/*
 * Read `path`; NULL: $RAMET_CONFIG, else ./ramet.conf, else
 * $XDG_CONFIG_HOME/ramet/ramet.conf (~/.config/…); none of the last two there
 * is an empty configuration. RAMET_EINVAL names file, line and key.
 */
RAMET_NODISCARD enum ramet_rc
ramet_config_load(const char *path, struct ramet_config **out,
                  struct ramet_err *err);
/* The same from text; `name` stands in errors and says where token files
 * are. For tests and fuzzers too. */
RAMET_NODISCARD enum ramet_rc
ramet_config_parse(const char *name, const char *text, size_t len,
                   struct ramet_config **out, struct ramet_err *err);
void ramet_config_free(struct ramet_config *config); /* NULL is fine */

/*
 * What a user typed as a remote into a URL: a URL is taken as it stands,
 * `work:name` and `work` by the configuration. RAMET_ENOTFOUND: no such
 * remote is named.
 */
RAMET_NODISCARD enum ramet_rc
ramet_config_url(const struct ramet_config *config, const char *remote,
                 char *out_url, size_t out_size, struct ramet_err *err);
/* The token for a URL in normal form: of the named remote with the longest
 * url that begins it. *out_token is NULL where there is none, else the
 * caller's (ramet_free). */
RAMET_NODISCARD enum ramet_rc
ramet_config_token(const struct ramet_config *config, const char *url,
                   char **out_token, struct ramet_err *err);
/* May the token of that remote go over plain http (`token_plain = yes`)? */
bool
ramet_config_token_is_plain(const struct ramet_config *config, const char *url);
/* Does a remote of it have the endpoint of this s3:// URL? */
bool ramet_config_names_endpoint(const struct ramet_config *config,
                                 const struct ramet_url *url);

/* The URL that `remote` is, or that ramet.conf (at `path`, NULL: where it is by
 * default) has under that name. RAMET_EINVAL, RAMET_ENOTFOUND. */
RAMET_NODISCARD enum ramet_rc
ramet_config_remote(const char *path, const char *remote,
                    struct ramet_url *out_url, struct ramet_err *err);

#endif
