/* A bucket of S3: reading, writing, listing and deleting objects, and uploads in parts. Each call is one or more HTTP requests that
 * block, by libcurl, until the answer is there, the transfer has stalled (30 s without a byte) or the deadline of small requests
 * (timeout_ms) has passed, or *cancel is true. Nothing is repeated here.
 *
 * Threads: any, each with structures of its own; never the loop. Ownership: results are in the caller's arena or buffer; what a
 * target points to is borrowed. Errors: E_NOT_FOUND, E_AUTH (refused by the service), E_TIMEOUT, E_CANCELED, E_TOO_LARGE, E_PROTOCOL, E_UNSUPPORTED (no libcurl here),
 * with the service's own words in struct fail; no secret is ever in them. */
#ifndef WIRE_NET_S3_H
#define WIRE_NET_S3_H

#include <stdatomic.h>

#include "wire/base/buf.h"
#include "wire/base/err.h"
#include "wire/net/s3_sign.h"

#define S3_PART_MIN ((uint64_t)5 << 20)
#define S3_PARTS_MAX 900u
#define S3_OBJECTS_MAX 20000u

struct s3_target {
        const char *endpoint; /* https:// is put before one without a scheme */
        const char *bucket, *region, *access_key, *secret_key;
        bool path_style;
        unsigned timeout_ms;
        const atomic_bool *cancel; /* NULL allowed */
};
struct s3_object {
        const char *key;
        uint64_t size;
};

int s3_get(const struct s3_target *t, const char *key, size_t max_bytes, struct buf *ret,
        struct fail *f) MUST_USE;
/* Hands the object over in pieces, as they arrive. An error of sink ends it, and is returned. */
typedef int s3_sink_fn(void *arg, const uint8_t *data, size_t n);
int s3_read(const struct s3_target *t, const char *key, s3_sink_fn *sink, void *arg, struct fail *f) MUST_USE;
int s3_put(const struct s3_target *t, const char *key, struct blob data, struct fail *f) MUST_USE;
/* One that is not there counts as deleted. */
int s3_delete(const struct s3_target *t, const char *key, struct fail *f) MUST_USE;
/* All whose keys begin so, in order; E_TOO_LARGE when there are more than S3_OBJECTS_MAX. max: 0, or enough. */
int s3_list(const struct s3_target *t, const char *prefix, uint32_t max, struct arena *a,
        struct s3_object **ret, uint32_t *ret_n, struct fail *f) MUST_USE;

/* An upload in parts. */
struct s3_upload {
        const struct s3_target *target;
        const char *key;
        struct arena arena;
        const char *id;
        const char *etags[S3_PARTS_MAX];
        uint32_t parts_n;
};
/* Ends what is left of earlier uploads of that key first: nobody else writes it. */
int s3_upload_begin(struct s3_upload *u, const struct s3_target *t, const char *key, struct fail *f) MUST_USE;
/* Every part but the last one has S3_PART_MIN at least. */
int s3_upload_part(struct s3_upload *u, struct blob data, struct fail *f) MUST_USE;
/* Makes the object. The upload is over, and freed, in any case. */
int s3_upload_end(struct s3_upload *u, struct fail *f) MUST_USE;
/* Nothing stays, as far as the service can be reached. Goes on although *cancel is true. Frees it. */
void s3_upload_abort(struct s3_upload *u);

/* Text of all elements of that name, entities replaced; for tests. */
uint32_t s3_xml_all(const char *xml, const char *element, struct arena *a, const char ***ret);

#endif
