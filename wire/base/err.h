/* Error numbers: 0 is success, every failure is negative. -1 .. -999 are -errno (as libuv's), the project's
 * own start at -1001 and are declared, with their text, in wire/def/errors.def. */
#ifndef WIRE_BASE_ERR_H
#define WIRE_BASE_ERR_H

#include <errno.h>
#include <stdint.h>

#include "wire/base/macros.h"

#define ERR(name, number, text) E_##name = (number),
enum error_code {
        E_OK = 0,
#include "wire/def/errors.def"
};
#undef ERR

/* Text of any negative error: ours, errno's, LMDB's. Never NULL. */
const char *err_text(int err);

/* Detail of one failure; no allocation. The innermost function fills it, outer ones prefix it. */
struct fail {
        int err;
        char text[256]; /* what went wrong, for the user: cause first */
        char field[64]; /* offending field or file, or "" */
};
/* Fills f (NULL allowed) and returns err. */
int fail_set(struct fail *f, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Prefixes f->text with "prefix: " (truncating the end). Returns f->err. */
int fail_wrap(struct fail *f, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
