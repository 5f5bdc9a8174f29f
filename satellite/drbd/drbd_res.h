/* The resource file of DRBD for one resource on one node: from what the cluster wants to the text that drbdadm reads.
 *
 * The same input gives the same text, so that a file that has not changed needs no adjust. Every string from outside is either
 * checked against its grammar (addresses) or written in quotes, with quotes and backslashes escaped; control characters are refused,
 * because drbdadm has no escape for them. Options that the installed version does not know are left out and counted.
 *
 * DRBD 8.4: one peer at most, no node ids, addresses in the `on` sections, options of peer devices among those of the disk.
 *
 * Threads: pure. Ownership: the text goes into the caller's buffer, everything passed in is borrowed for the call. */
#ifndef SATELLITE_DRBD_DRBD_RES_H
#define SATELLITE_DRBD_DRBD_RES_H

#include "satellite/base/trouble.h"
#include "wire/base/buf.h"
#include "wire/def/drbd_opts.h"
#include "wire/def/types.h"

#define DRBD_UTILS_MIN 0x091600        /* 9.22.0 */
#define DRBD_UTILS_OUTSIDE 0x092200    /* and `via outside-address` */
#define DRBD_UTILS_TIEBREAKER 0x092200 /* 9.34.0 knows the word tiebreaker, with kernel 9.3.1 */
#define DRBD_KERNEL_TIEBREAKER 0x090301
#define DRBD_SECRET_MAX 63 /* bytes */
/* What disks are called that nobody looks at: peers' and skipped ones. It must be a device's name, and not "none". */
#define DRBD_OTHER_DISK "/dev/drbd/this/is/not/used"

struct drbd_version {
        enum drbd_gen gen;
        uint32_t kernel, utils; /* 0x091600 is 9.22.0 */
};

/* A volume that is to be in the file. */
struct drbd_res_vol {
        const struct sat_vlm *vlm;
        const char *disk; /* the device below, on this node; NULL: this node has none */
        const char *meta; /* device of external metadata; NULL: internal */
};

struct drbd_res_args {
        const struct sat_rsc *rsc; /* with rsc->drbd */
        const struct drbd_res_vol *volumes;
        uint32_t volumes_n;
        struct drbd_version version;
};

/* Appends the file. *ret_unknown (or NULL): options that were left out. E_INVALID: something in it cannot be written;
 * E_UNSUPPORTED: this version of DRBD cannot do it; t says what and what to do. E_TOO_LARGE: the buffer's limit. */
int drbd_res_write(
        const struct drbd_res_args *args, struct buf *out, uint32_t *ret_unknown, struct trouble *t) MUST_USE;
/* s as drbdadm reads it back, in quotes. E_INVALID: it has control characters. */
int drbd_res_quote(const char *s, struct buf *out) MUST_USE;
/* May it follow `address ipv4`, or `ipv6` in brackets? *ret_v6. */
bool drbd_res_address(const char *s, bool *ret_v6);

#endif
