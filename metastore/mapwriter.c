/*
 * mapwriter.c - the object of a page map: nodes, one behind the other, streamed
 * out while they are made.
 */
#include <assert.h>

#include "metastore/mapbuild.h"

#define OUT_BYTES (256u << 10)

enum ramet_rc
ramet_map_writer_begin(struct ramet_map_writer *writer,
                       struct ramet_history *history, uint64_t lsn,
                       struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(lsn != 0);
    *writer = (struct ramet_map_writer){.history = history, .lsn = lsn};
    ramet_buf_init(&writer->out, OUT_BYTES + RAMET_MAP_TRAILER_SIZE);
    rc = ramet_id_new(&writer->id.id, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_map_key(&history->volume, lsn, &writer->id, writer->key);
    ramet_map_header_encode(&history->volume, lsn, writer->header);
    ramet_buf_bytes(&writer->out, writer->header, RAMET_MAP_HEADER_SIZE);
    return RAMET_OK;
}

void
ramet_map_writer_done(struct ramet_map_writer *writer)
{
    assert(writer->upload == NULL || writer->flushed_bytes > 0 ||
           writer->out.len == 0);
    if (writer->upload != NULL)
        ramet_objstore_upload_abort(writer->upload);
    writer->upload = NULL;
    ramet_buf_done(&writer->out);
}

static enum ramet_rc
writer_flush(struct ramet_map_writer *writer, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(writer->out.len > 0);
    assert((writer->upload == NULL) == (writer->flushed_bytes == 0));
    if (writer->upload == NULL)
        rc = ramet_objstore_upload_begin(writer->history->store, writer->key,
                                         &writer->upload, err);
    if (rc == RAMET_OK)
        rc = ramet_objstore_upload_write(writer->upload, writer->out.data,
                                         writer->out.len, err);
    writer->flushed_bytes += writer->out.len;
    ramet_buf_clear(&writer->out);
    return rc;
}

enum ramet_rc
ramet_map_writer_add(struct ramet_map_writer *writer,
                     const struct ramet_buf *node,
                     struct ramet_node_ref *out_ref, struct ramet_err *err)
{
    assert(node->failed != RAMET_OK ||
           (node->len > 0 && node->len <= RAMET_NODE_BYTES_MAX));
    if (node->failed != RAMET_OK)
        return RAMET_FAIL(err, node->failed, "%s: node", writer->key);
    if (writer->out.len + node->len > OUT_BYTES) {
        const enum ramet_rc rc = writer_flush(writer, err);

        if (rc != RAMET_OK)
            return rc;
    }
    *out_ref = (struct ramet_node_ref){
        .lsn = writer->lsn,
        .id = writer->id,
        .offset_bytes = writer->flushed_bytes + writer->out.len,
        .length_bytes = (uint32_t)node->len,
        .hash = ramet_hash128(node->data, node->len),
    };
    ramet_buf_bytes(&writer->out, node->data, node->len);
    if (writer->out.failed != RAMET_OK)
        return RAMET_FAIL(err, writer->out.failed, "%s: node", writer->key);
    return RAMET_OK;
}

/* No answer: the name is ours alone, so whether it is there decides. */
static enum ramet_rc
resolve(struct ramet_map_writer *writer, struct ramet_err *err)
{
    uint64_t size;
    const enum ramet_rc rc =
        ramet_objstore_size(writer->history->store, writer->key, &size, err);

    assert(writer->upload == NULL);
    if (rc == RAMET_OK && size == writer->flushed_bytes + writer->out.len)
        return RAMET_OK;
    if (rc == RAMET_OK || rc == RAMET_ENOTFOUND)
        return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                          "%s: the page map did not arrive", writer->key);
    return rc;
}

enum ramet_rc
ramet_map_writer_finish(struct ramet_map_writer *writer,
                        const struct ramet_hash *commit_hash,
                        const struct ramet_node_ref *root,
                        struct ramet_err *err)
{
    const struct ramet_map_trailer trailer = {.commit_hash = *commit_hash,
                                              .root = *root};
    uint8_t *const end = ramet_buf_extend(&writer->out, RAMET_MAP_TRAILER_SIZE);
    enum ramet_rc rc;

    assert(root->offset_bytes + root->length_bytes + RAMET_MAP_TRAILER_SIZE ==
               writer->flushed_bytes + writer->out.len ||
           end == NULL);
    if (end == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: trailer", writer->key);
    ramet_map_trailer_encode(writer->header, &trailer, end);
    if (writer->upload == NULL) {
        const struct iovec part = {writer->out.data, writer->out.len};

        rc = ramet_objstore_put(writer->history->store, writer->key, &part, 1,
                                err);
    } else {
        rc = ramet_objstore_upload_write(writer->upload, writer->out.data,
                                         writer->out.len, err);
        if (rc != RAMET_OK)
            return rc;
        rc = ramet_objstore_upload_finish(writer->upload, err);
        writer->upload = NULL; /* freed, whatever it said */
    }
    return rc == RAMET_EUNKNOWN || rc == RAMET_EEXIST ? resolve(writer, err)
                                                      : rc;
}
