/* The metadata of one volume of DRBD: at the end of the device below, or on a device of its own (EXTRA_DRBD_META of
 * wire/def/layer_extra.h). What is wanted decides which; metadata is never looked for, or made, at the other place.
 *
 * Threads: pool threads; all but drbd_md_at() and drbd_refuse() block. Ownership: everything is borrowed for the call. Errors: 0 or
 * negative, with the explanation in t. */
#ifndef SATELLITE_DRBD_DRBD_MD_H
#define SATELLITE_DRBD_DRBD_MD_H

#include "satellite/layer/layer.h"

#define META_DOWN_WHY \
        "Its metadata is in another storage pool (property StorPoolNameDrbdMeta), which may not be usable."
#define META_DOWN_FIX "Mend that pool; the satellite tries again by itself."

/* Where it is. path NULL: that device is down. index: what drbdmeta calls it. */
struct drbd_md_at {
        bool beside; /* else at the end of the device below */
        const char *path, *index;
};
struct drbd_md_at drbd_md_at(const struct layer_vol *v);
/* What is there, into d: exists, raw, foreign. minor: of its device that is up, or UINT64_MAX. An error: it cannot be read. */
int drbd_md_look(const struct layer_vol *v, uint64_t minor, struct layer_dev *d, struct trouble *t);
/* How large a device can be with it; 0: unknown. KiB. */
uint64_t drbd_md_usable_kib(const struct layer_vol *v);
/* Makes it, with the first generation ids; nothing where it was made already. Never over anything else. DRBD is usable. */
int drbd_md_make(const struct layer_vol *v, struct trouble *t);
/* Of a device that has data and is not DRBD's (any more): nothing at its end is taken for metadata afterwards. bitmaps: what was metadata
 * there is data of nobody, and becomes zeros as a whole; else the superblock alone. */
int drbd_md_clear(const char *path, bool bitmaps, struct trouble *t);
/* "Resource r, volume n: what", with cause and remedy. Returns err. */
int drbd_refuse(const struct layer_vol *v, int err, enum trouble_code code, const char *what, const char *why,
        const char *fix, struct trouble *t);

#endif
