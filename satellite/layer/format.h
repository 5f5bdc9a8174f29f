/* File systems that are asked for by properties (FileSystem/Type, MkfsParams, User, Group): made once, on a volume that was made empty.
 *
 * Never over anything: what libblkid knows, what somebody has open, and anything that is not zeros where the volume was wiped when it was
 * made (enum format_wiped). Never twice: that it was done, or that something was there, is remembered with the device (dev.formatted).
 *
 * Threads: format_device() blocks, in a pool thread; the others are pure. */
#ifndef SATELLITE_LAYER_FORMAT_H
#define SATELLITE_LAYER_FORMAT_H

#include "satellite/base/trouble.h"
#include "wire/base/mem.h"
#include "wire/codec/schema.h"

/* Do these properties of a volume ask for a file system? */
bool format_wanted(const struct strmap *props);
/* The command, NULL-terminated, in the arena; *ret_proto is the text of the prototype that xfs needs for an owner, or NULL: the word
 * FORMAT_PROTO in the command stands for its path. E_INVALID, explained: an unknown type or user, or parameters that name files. */
#define FORMAT_PROTO "PROTO"
int format_command(const char *path, const struct strmap *props, struct arena *a, const char *const **ret,
        const char **ret_proto, struct trouble *t) MUST_USE;
/* What a volume was wiped of when it was made, as it shows on its device: what is not zeros there has been written since. */
enum format_wiped {
        FORMAT_WIPED_UNKNOWN, /* behind encryption and caches */
        FORMAT_WIPED_HEAD,    /* its beginning; where it ends, the device below goes on */
        FORMAT_WIPED_ENDS
};
/* 0 when the file system is made, or when something is there already. */
int format_device(
        const char *path, const struct strmap *props, enum format_wiped wiped, struct trouble *t) MUST_USE;

#endif
