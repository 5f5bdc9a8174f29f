/* Shared by the files of the LVM providers: provider_lvm.c (pools, volumes) and lvm_snapshots.c (snapshots, and volumes made from them).
 *
 * Threads: as provider.h. Ownership: results live in the target's arena. */
#ifndef SATELLITE_PROVIDER_LVM_TARGET_H
#define SATELLITE_PROVIDER_LVM_TARGET_H

#include "satellite/provider/lvm_options.h"
#include "satellite/provider/lvm_report.h"

struct lvm_place {
        const char *vg, *thin; /* thin NULL: LVM */
};
/* One volume that a change is about to touch. */
struct lvm_target {
        struct arena a;
        struct lvm_place p;
        struct lvm_lv *lv; /* NULL: there is none */
        const char *path;  /* VG/LV, as the programs want it */
};

/* ---- provider_lvm.c ---- */
/* The block device of VG/LV. */
const char *lvm_device(struct arena *a, const char *vg, const char *name);
/* Where devices are, for tests; before any other thread starts. NULL: /dev. */
void lvm_set_dev_dir(const char *dir);
/* Only names it, without a look: lv is NULL whatever is there. The caller ends with lvm_target_done(). */
void lvm_target_name(struct lvm_target *g, const struct dev *d);
/* Looks the volume up and checks that it is d's. 0 also when there is none. The caller ends with lvm_target_done(). */
int lvm_target_open(struct lvm_target *g, const struct dev *d, struct trouble *t);
/* As lvm_target_open, but the volume must be there. */
int lvm_target_need(struct lvm_target *g, const struct dev *d, struct trouble *t);
void lvm_target_done(struct lvm_target *g);
/* The group's volumes, or only the one called name, at this moment. */
int lvm_read_lvs(const char *vg, const char *name, struct arena *a, struct lvm_lv **ret, uint32_t *ret_n,
        struct trouble *t);
/* The volume called name, or none; open: for longer than udev looks at it. */
int lvm_read_lv(const char *vg, const char *name, struct arena *a, struct lvm_lv **ret, uint32_t *ret_n,
        struct trouble *t);
int lvm_thick_info(const struct lvm_place *p, struct pool_info *ret, struct arena *a, struct trouble *t);
const char *lvm_prop(const struct dev *d, const char *key);
int lvm_bad_option(const struct dev *d, const char *key, const struct fail *f, struct trouble *t);
/* lvcreate with these arguments (a NULL at their end), what the user added, and then the places. */
int lvm_lvcreate(struct lvm_target *g, const struct lvm_words *w, const char *const *fixed, const char *at,
        struct trouble *t);
/* A new volume, with the mark of d, not wiped yet. tag: one more, or NULL. */
int lvm_make(
        struct lvm_target *g, const struct dev *d, uint64_t size_kib, const char *tag, struct trouble *t);
/* Activates and wipes a volume that was just made, or that an interrupted attempt left, and takes the tag off. */
int lvm_finish_raw(struct lvm_target *g, struct trouble *t);
int lvm_activate(struct lvm_target *g, const char *path, struct trouble *t);
int lvm_resize(const struct dev *d, uint64_t size_kib, struct trouble *t);

/* ---- lvm_snapshots.c: functions of struct provider ---- */
int lvm_snapshot(const struct dev *src, const struct dev *d, bool quiet, struct trouble *t);
int lvm_restore(const struct dev *src, const struct dev *d, uint64_t size_kib, struct trouble *t);
int lvm_replace(const struct dev *old, const struct dev *src, const struct dev *d, uint64_t size_kib,
        struct trouble *t);
int lvm_thick_snapshot(const struct dev *src, const struct dev *d, bool quiet, struct trouble *t);
int lvm_thick_restore(const struct dev *src, const struct dev *d, uint64_t size_kib, struct trouble *t);
/* Before a volume goes down or away: stops the copy that reads or writes it, and looks at the volume again. */
int lvm_stop_copy(struct lvm_target *g, const struct dev *d, struct trouble *t);
/* A thick volume that has a snapshot can be neither resized nor removed. 0, or E_BUSY with the explanation. */
int lvm_need_no_cow(const struct lvm_target *g, const char *what, struct trouble *t);

#endif
