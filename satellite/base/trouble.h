/* What went wrong with a resource or a pool, told so that the administrator can mend it: message, cause,
 * remedy. Becomes an entry of `reports` (struct api_rc) in what the satellite reports.
 *
 * Threads: pure. Ownership: plain values of fixed size, so that they travel between threads by copying. */
#ifndef SATELLITE_BASE_TROUBLE_H
#define SATELLITE_BASE_TROUBLE_H

#include "wire/base/err.h"
#include "wire/def/types.h"

/* Numbers of LINSTOR's return codes; severity and object bits are added by trouble_report(). */
enum trouble_code {
        TROUBLE_INVALID_VOLUME_NUMBER = 205,
        TROUBLE_INVALID_SIZE = 206,
        TROUBLE_EXT_FILE = 236,
        TROUBLE_NO_KEY = 312,
        TROUBLE_EXISTS = 504,
        TROUBLE_UUID = 704,
        TROUBLE_NO_SPACE = 980,
        TROUBLE_NO_LAYER = 988,
        TROUBLE_NO_PROVIDER = 989,
        TROUBLE_POOL = 990,
        TROUBLE_IN_USE = 997,
        TROUBLE_UNKNOWN = 998,
        TROUBLE_WARN_STORAGE = 1010,
};

/* Volume number of a trouble that is about the whole resource, or a pool. */
#define TROUBLE_NO_VOLUME (-1)

struct trouble {
        int err; /* 0 = nothing is wrong */
        enum trouble_code code;
        int64_t volume; /* or TROUBLE_NO_VOLUME */
        char snap[52];  /* name of the snapshot that it is about, or empty */
        char message[320];
        char cause[320];
        char correction[320];
};

/* Each fills one text; a NULL t is allowed. trouble_set clears the others, names no volume, and returns err.
 */
int trouble_set(struct trouble *t, int err, enum trouble_code code, const char *fmt, ...) PRINTF_LIKE(4, 5);
void trouble_cause(struct trouble *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* It is about a snapshot of that name. */
void trouble_of_snapshot(struct trouble *t, const char *snap_name);
void trouble_fix(struct trouble *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "message failed: strerror" for an errno (positive), with cause and remedy where there is a usual one (full
 * or read-only file system, missing rights, ...). Returns a negative error: E_NO_SPACE, E_BUSY, or
 * -errno_value. */
int trouble_errno(struct trouble *t, int errno_value, const char *fmt, ...) PRINTF_LIKE(3, 4);

enum trouble_object { TROUBLE_OF_POOL, TROUBLE_OF_RESOURCE };
/* Fills ret from t; texts are copied into the arena. */
void trouble_report(const struct trouble *t, enum trouble_object object, struct arena *a, struct api_rc *ret);

#endif
