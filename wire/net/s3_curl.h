/* libcurl, loaded when a bucket is first asked. Linked, it and the thirty libraries behind it would cost every controller,
 * witness and satellite six MiB of memory, and few ever ask a bucket.
 *
 * Threads: any. Ownership: the table lives as long as the process; the library is never unloaded. */
#ifndef WIRE_NET_S3_CURL_H
#define WIRE_NET_S3_CURL_H

#define CURL_DISABLE_TYPECHECK /* its macros name the functions themselves */
#include <curl/curl.h>

#include "wire/base/err.h"

#define S3_CURL_FUNCTIONS(X)  \
        X(curl_global_init)   \
        X(curl_easy_init)     \
        X(curl_easy_setopt)   \
        X(curl_easy_perform)  \
        X(curl_easy_getinfo)  \
        X(curl_easy_cleanup)  \
        X(curl_easy_strerror) \
        X(curl_slist_append)  \
        X(curl_slist_free_all)

struct s3_curl {
#define X(name) __typeof__(&name) name;
        S3_CURL_FUNCTIONS(X)
#undef X
};

/* NULL: it cannot be loaded; *f has cause and remedy (E_UNSUPPORTED). It is tried again by the next call. */
const struct s3_curl *s3_curl(struct fail *f);

#endif
