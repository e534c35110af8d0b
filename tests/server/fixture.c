/*
 * fixture.c - see fixture.h.
 */
#include "tests/server/fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct ramet_remote *
connect_with(unsigned port, const struct ramet_remote_options *options)
{
    struct ramet_url url = {.scheme = RAMET_REMOTE_HTTP};
    struct ramet_remote *remote;
    struct ramet_err err;

    (void)snprintf(url.root, sizeof(url.root), "http://127.0.0.1:%u", port);
    assert_int_equal(ramet_remote_open_http(&url, options, &remote, &err),
                     RAMET_OK);
    return remote;
}

struct ramet_remote *
fixture_connect_port(unsigned port, const char *token)
{
    const struct ramet_remote_options options = {.token = token != NULL ? token
                                                                        : ""};

    return connect_with(port, &options);
}

struct ramet_remote *
fixture_connect_hasty(unsigned port)
{
    const struct ramet_remote_options options = {
        .token = "", .connect_timeout_ms = 300, .stall_timeout_ms = 300};

    return connect_with(port, &options);
}

struct ramet_remote *
fixture_connect_tls(const struct fixture *f)
{
    const struct ramet_remote_options options = {.token = ""};
    struct ramet_url url = {.scheme = RAMET_REMOTE_HTTPS};
    struct ramet_remote *remote;
    struct ramet_err err;

    (void)snprintf(url.root, sizeof(url.root), "https://127.0.0.1:%u",
                   ramet_server_port(f->server));
    assert_int_equal(ramet_remote_open_http(&url, &options, &remote, &err),
                     RAMET_OK);
    return remote;
}

struct ramet_remote *
fixture_connect(const struct fixture *f, const char *token)
{
    return fixture_connect_port(ramet_server_port(f->server), token);
}

static void
start(struct fixture *f)
{
    struct ramet_err err;
    const enum ramet_rc rc = ramet_server_start(&f->options, &f->server, &err);

    if (rc != RAMET_OK)
        fail_msg("server: %s", err.text);
}

void
fixture_start(struct fixture *f,
              void (*adjust)(struct ramet_server_options *options))
{
    struct ramet_err err;

    memset(f, 0, sizeof(*f));
    strcpy(f->dir, "/tmp/ramet-server-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    ramet_server_options_init(&f->options);
    strcpy(f->options.listen, "127.0.0.1:0");
    strcpy(f->options.access_log, "off");
    (void)snprintf(f->options.data, sizeof(f->options.data), "%s/data", f->dir);
    f->options.drain = 2;
    if (adjust != NULL)
        adjust(&f->options);
    start(f);
    f->remote = fixture_connect(f, NULL);
    assert_int_equal(
        ramet_dirstore_open(NULL, f->options.data, false, &f->direct, &err),
        RAMET_OK);
}

void
fixture_restart(struct fixture *f)
{
    const unsigned port = ramet_server_port(f->server);

    ramet_server_stop(f->server);
    (void)snprintf(f->options.listen, sizeof(f->options.listen), "127.0.0.1:%u",
                   port);
    start(f);
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

void
fixture_stop(struct fixture *f)
{
    if (f->remote != NULL)
        f->remote->ops->close(f->remote);
    ramet_objstore_close(f->direct);
    ramet_server_stop(f->server);
    (void)nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
