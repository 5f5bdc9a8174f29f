/* Requests to S3 are signed (AWS Signature Version 4): a keyed hash over method, path, query, headers and the body's hash. libcurl's own
 * signing in Debian 12 leaves queries as they are, so it is done here; libcurl carries the requests.
 *
 * Pure. Threads: any. Ownership: results are in the caller's arena or buffers. */
#ifndef WIRE_NET_S3_SIGN_H
#define WIRE_NET_S3_SIGN_H

#include <stdbool.h>

#include "wire/base/mem.h"

#define S3_HASH_HEX 65

struct s3_query {
        const char *name, *value; /* as they are, not escaped */
};
struct s3_signing {
        const char *method, *host;
        const char *path; /* escaped already, from the first slash on */
        const struct s3_query *query;
        uint32_t query_n;
        const char *range;     /* header Range, or NULL */
        const char *body_hash; /* hexadecimal SHA-256 of the body */
        const char *region, *access_key, *secret_key;
        const char *time; /* 20130524T000000Z */
};

/* Escapes all but letters, digits, "-._~", and slashes where they are kept. */
const char *s3_escape(const char *s, bool keep_slashes, struct arena *a);
/* The query, escaped and in the order that is signed; "" when there is none. */
const char *s3_query_text(const struct s3_query *q, uint32_t n, struct arena *a);
void s3_sha256(struct blob data, char out[S3_HASH_HEX]);
/* Value of the header Authorization. */
const char *s3_authorization(const struct s3_signing *s, struct arena *a);
/* 20130524T000000Z of seconds since 1970. */
const char *s3_time(int64_t s, struct arena *a);

#endif
