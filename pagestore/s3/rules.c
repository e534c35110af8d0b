/*
 * rules.c - see rules.h.
 */
#include "pagestore/s3/rules.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "pagestore/s3/s3store_impl.h"
#include "pagestore/s3/xml.h"

#define ANSWER_MAX (1u << 20) /* a thousand rules take less */
#define RULE "LifecycleConfiguration/Rule"

/* One rule while it is read, and the first that was found. */
struct reading {
    const char *wanted; /* prefix of the store's keys */
    char id[RAMET_S3_RULE_MAX];
    char prefix[RAMET_S3_PREFIX_MAX];
    bool enabled, takes;
    char *found; /* RAMET_S3_RULE_MAX */
    bool seen_end;
};

static bool
begins_with(const char *text, const char *prefix)
{
    assert(text != NULL && prefix != NULL);
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Some key begins with both. */
static bool
meet(const char *a, const char *b)
{
    assert(a != NULL && b != NULL);
    return begins_with(a, b) || begins_with(b, a);
}

static void
end_rule(struct reading *r)
{
    assert(r->found != NULL);
    if (r->enabled && r->takes && r->found[0] == '\0' &&
        meet(r->prefix, r->wanted))
        (void)snprintf(r->found, RAMET_S3_RULE_MAX, "%s",
                       r->id[0] != '\0' ? r->id : "(without a name)");
    r->id[0] = r->prefix[0] = '\0';
    r->enabled = r->takes = false;
}

/* A prefix that is cut meets more than it should: it is told, not passed. */
static bool
see(void *ctx, const char *path, const char *text)
{
    static const char *const prefixes[] = {
        RULE "/Prefix", RULE "/Filter/Prefix", RULE "/Filter/And/Prefix"};
    static const char *const takers[] = {
        RULE "/Expiration/Days", RULE "/Expiration/Date",
        RULE "/Transition/Days", RULE "/Transition/Date"};
    struct reading *const r = ctx;

    assert(path != NULL && text != NULL);
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        if (strcmp(path, prefixes[i]) == 0)
            (void)snprintf(r->prefix, sizeof(r->prefix), "%s", text);
    for (size_t i = 0; i < sizeof(takers) / sizeof(takers[0]); i++)
        r->takes = r->takes || strcmp(path, takers[i]) == 0;
    if (strcmp(path, RULE "/ID") == 0)
        (void)snprintf(r->id, sizeof(r->id), "%s", text);
    else if (strcmp(path, RULE "/Status") == 0)
        r->enabled = strcmp(text, "Enabled") == 0;
    else if (strcmp(path, RULE) == 0)
        end_rule(r);
    else if (strcmp(path, "LifecycleConfiguration") == 0)
        r->seen_end = true;
    return true;
}

enum ramet_rc
ramet_s3_rules_parse(const void *data, size_t len, const char *prefix,
                     char out_rule[RAMET_S3_RULE_MAX], struct ramet_err *err)
{
    char found[RAMET_S3_RULE_MAX] = "";
    struct reading reading = {.wanted = prefix, .found = found};
    const enum ramet_rc rc = ramet_xml_parse(data, len, see, &reading, err);

    assert(prefix != NULL && (data != NULL || len == 0));
    if (rc != RAMET_OK)
        return rc;
    if (!reading.seen_end)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "not lifecycle rules");
    memcpy(out_rule, found, sizeof(found));
    return RAMET_OK;
}

enum ramet_rc
ramet_s3store_rules(struct ramet_objstore *store,
                    char out_rule[RAMET_S3_RULE_MAX], struct ramet_err *err)
{
    struct ramet_s3store *const s3 = (struct ramet_s3store *)store;
    struct ramet_s3_request request = {
        .method = "GET",
        .kind = RAMET_REQUEST_GET,
        .key = "",
        .query = "lifecycle=",
        .answer_max = ANSWER_MAX,
    };
    enum ramet_rc rc = ramet_s3_perform(&s3->caller, &request, err);

    assert(out_rule != NULL);
    if (rc == RAMET_ENOTFOUND) { /* it has none */
        out_rule[0] = '\0';
        rc = RAMET_OK;
    } else if (rc == RAMET_OK) {
        rc = ramet_s3_rules_parse(request.answer.data, request.answer.len,
                                  s3->prefix, out_rule, err);
    }
    ramet_buf_done(&request.answer);
    return rc;
}
