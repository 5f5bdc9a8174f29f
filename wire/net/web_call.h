/* Requests to another cluster's REST API, by libcurl (wire/net/s3_curl.h): each blocks until the answer is there, timeout_ms have passed,
 * or *cancel is true. Several base URLs, between commas, are tried in turn, until one of them answers.
 *
 * Threads: any; never the loop. Ownership: everything that is passed in is borrowed; the answer is in the caller's buffer. Errors:
 * E_CLOSED (none answers), E_TIMEOUT, E_CANCELED, E_TOO_LARGE, E_UNSUPPORTED (no libcurl here), with the cause in struct fail. */
#ifndef WIRE_NET_WEB_CALL_H
#define WIRE_NET_WEB_CALL_H

#include <stdatomic.h>

#include "wire/base/buf.h"
#include "wire/base/err.h"

#define WEB_ANSWER_MAX ((size_t)4 << 20)

struct web_call {
        const char *urls; /* http:// or https://, without a slash at the end */
        const char *method, *path;
        struct blob body; /* JSON; n 0 = none */
        unsigned timeout_ms;
        const atomic_bool *cancel; /* NULL allowed */
};
/* 0: an answer of any status came. */
int web_call(const struct web_call *c, struct buf *ret, long *ret_status, struct fail *f) MUST_USE;

#endif
