/* The properties StorDriver/LvcreateOptions, LvcreateSnapshotOptions, LvcreateType and LvcreatePvSelection: options of lvcreate, as
 * LINSTOR hands them on.
 *
 * The rule: a text is split at blanks, and nothing else in it has a meaning (no quotes, no escapes, no variables); no shell is involved.
 * Options are taken from a list: those that say how space is allocated (stripes, mirrors, regions, policies), and tags. What would
 * change the volume's name, size, place, activation or marks, or LVM's configuration, is refused by name. Further words are
 * physical volumes (/dev/...), where lvcreate takes these.
 *
 * Pure. Threads: any. Ownership: words live in the arena. */
#ifndef SATELLITE_PROVIDER_LVM_OPTIONS_H
#define SATELLITE_PROVIDER_LVM_OPTIONS_H

#include <stdbool.h>

#include "wire/base/err.h"
#include "wire/base/mem.h"

#define LVM_WORDS_MAX 32

struct lvm_words {
        const char *words[LVM_WORDS_MAX];
        unsigned n;
        const char *volumes[LVM_WORDS_MAX]; /* physical ones; lvcreate wants them last */
        unsigned volumes_n;
};
enum lvm_use {
        LVM_USE_THICK,
        LVM_USE_THIN,
        LVM_USE_SNAPSHOT,
        /* pvcreate, vgcreate, and lvcreate of a thin pool: what pools are made with (disk_pool.h) */
        LVM_USE_PV,
        LVM_USE_VG,
        LVM_USE_POOL,
};

/* text NULL: none. Adds to ret. E_INVALID with the option in f. */
int lvm_options_parse(
        const char *text, enum lvm_use use, struct arena *a, struct lvm_words *ret, struct fail *f) MUST_USE;
/* LvcreateType: adds "--type X". NULL, "" and linear: nothing. */
int lvm_type_parse(const char *text, struct arena *a, struct lvm_words *ret, struct fail *f) MUST_USE;
/* LvcreatePvSelection: the value of --sort (NULL: as LVM likes). */
int lvm_sort_parse(const char *text, struct arena *a, const char **ret, struct fail *f) MUST_USE;

#endif
