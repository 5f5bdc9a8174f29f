/* Snapshots of logical volumes, and volumes made from them.
 *
 * Thin ones share blocks, and are never activated. A thick volume gets a classic snapshot, for a clone only: its store (cow_store_kib) has room
 * for the whole volume, so it is never full, and the clone is filled by copying it (copies.h). Until it is, the clone has LVM_TAG_COPY beside
 * its mark: it is its resource's, which can be deleted at any time, but is begun anew by a satellite that died in between. */
#include <errno.h>
#include <string.h>

#include "satellite/base/inject.h"
#include "satellite/provider/copies.h"
#include "satellite/provider/lvm_cmd.h"
#include "satellite/provider/lvm_target.h"
#include "wire/codec/codec.h"
#include "wire/def/layer_size.h"

/* ---- snapshots of thin volumes; they are not activated ---- */

/* A thin snapshot of src with this name and tags, in one metadata commit. of: whose properties count. */
static int make_from(struct lvm_target *g, const struct dev *src, const struct dev *of, const char *name,
        const char *tag, const char *tag2, struct trouble *t)
{
        static const char key[] = "StorDriver/LvcreateSnapshotOptions";
        struct lvm_words w = { 0 };
        struct fail f = { 0 };
        if (lvm_options_parse(lvm_prop(of, key), LVM_USE_SNAPSHOT, &g->a, &w, &f) != 0)
                return lvm_bad_option(of, key, &f, t);
        const char *fixed[] = { "--snapshot", "--setactivationskip", of->snap_name != NULL ? "y" : "n",
                "--activate", "n", "--name", name, "--addtag", tag, tag2 != NULL ? "--addtag" : NULL, tag2,
                NULL };
        int err = lvm_lvcreate(g, &w, fixed, arena_printf(&g->a, "%s/%s", g->p.vg, src->backing_id), t);
        inject_point(INJECT_LVM_CREATED);
        return err;
}

static int mark_of(const struct dev *d, char tag[LVM_TAG_SIZE], struct trouble *t)
{
        if (lvm_write_mark(d, tag) == 0) return 0;
        return trouble_set(
                t, E_INVALID, TROUBLE_UNKNOWN, "Resource %s cannot be marked with a tag.", d->rsc_name);
}

/* I/O is held while snapshots are taken, so nobody looks first what has the name: lvcreate refuses to take it twice. Has it failed with
 * err because the snapshot is there, from an attempt whose end nobody saw? Or is there something else? */
static int taken_before(int err, const struct dev *d, struct trouble *t)
{
        struct lvm_target g;
        struct trouble other = { 0 };
        if (err == 0) return 0;
        int looked = lvm_target_open(&g, d, &other);
        if (looked == E_EXISTS) {
                *t = other;
                err = looked;
        } else if (looked == 0 && g.lv != NULL) err = 0;
        lvm_target_done(&g);
        return err;
}

int lvm_snapshot(const struct dev *src, const struct dev *d, bool quiet, struct trouble *t)
{
        struct lvm_target g;
        char tag[LVM_TAG_SIZE];
        (void)quiet; /* it is of one point in time in any case */
        lvm_target_name(&g, d);
        const char *snap_tag = arena_printf(&g.a, LVM_TAG_SNAPSHOT "%s", d->snap_name);
        int err = dev_flush(src, t);
        if (err == 0) err = mark_of(d, tag, t);
        if (err == 0) err = taken_before(make_from(&g, src, d, d->backing_id, tag, snap_tag, t), d, t);
        lvm_target_done(&g);
        return err;
}

/* A new volume on its way to the place of an older one has this name and a tag of its own, but no mark yet. */
static const char *new_name(struct lvm_target *g, const struct dev *d)
{
        return arena_printf(&g->a, "%s_new", d->backing_id);
}

/* Removes what an interrupted replace() left. */
static int clear_new(struct lvm_target *g, const struct dev *d, struct trouble *t)
{
        struct lvm_lv *lv;
        uint32_t n;
        const char *name = new_name(g, d);
        int err = lvm_read_lv(g->p.vg, name, &g->a, &lv, &n, t);
        if (err != 0 || n == 0 || !lvm_has_tag(lv->tags, LVM_TAG_NEW)) return err;
        return lvm(&g->a, NULL, t, "lvremove", "--yes", "--force",
                arena_printf(&g->a, "%s/%s", g->p.vg, name), NULL);
}

int lvm_restore(const struct dev *src, const struct dev *d, uint64_t size_kib, struct trouble *t)
{
        struct lvm_target g;
        char tag[LVM_TAG_SIZE];
        int err = lvm_target_open(&g, d, t);
        if (err == 0 && g.lv == NULL) {
                err = clear_new(&g, d, t);
                if (err == 0) err = mark_of(d, tag, t);
                if (err == 0) err = make_from(&g, src, d, d->backing_id, tag, NULL, t);
        }
        lvm_target_done(&g);
        if (err != 0 || size_kib <= src->size_kib) return err;
        return lvm_resize(d, size_kib, t);
}

/* Makes the new one aside, removes the old one, and gives the new one its name, then its mark. A crash before the removal is begun
 * anew; after it, restore() finds nothing at the place; after the renaming the volume has the tag "new" and is marked here. */
int lvm_replace(const struct dev *old, const struct dev *src, const struct dev *d, uint64_t size_kib,
        struct trouble *t)
{
        struct lvm_target g;
        char tag[LVM_TAG_SIZE];
        int err = lvm_target_need(&g, old, t);
        if (err == 0) err = mark_of(d, tag, t);
        if (err == 0 && !lvm_has_tag(g.lv->tags, LVM_TAG_NEW)) {
                const char *name = new_name(&g, d);
                err = g.lv->active ? trouble_errno(t, EBUSY, "Logical volume %s cannot be replaced", g.path)
                                   : clear_new(&g, d, t);
                if (err == 0) err = make_from(&g, src, d, name, LVM_TAG_NEW, NULL, t);
                if (err == 0) err = lvm(&g.a, NULL, t, "lvremove", "--yes", "--force", g.path, NULL);
                inject_point(INJECT_LVM_REMOVED);
                if (err == 0)
                        err = lvm(&g.a, NULL, t, "lvrename", "--yes", g.p.vg, name, d->backing_id, NULL);
                inject_point(INJECT_LVM_RENAMED);
        }
        if (err == 0)
                err = lvm(&g.a, NULL, t, "lvchange", "--yes", "--addtag", tag, "--deltag", LVM_TAG_NEW,
                        g.path, NULL);
        lvm_target_done(&g);
        if (err != 0 || size_kib <= src->size_kib) return err;
        return lvm_resize(d, size_kib, t);
}

/* ---- snapshots of thick volumes, to be cloned ---- */

static uint64_t whole_extents(uint64_t kib, const struct pool_info *i)
{
        return i->granule_kib == 0 ? kib : (kib + i->granule_kib - 1) / i->granule_kib * i->granule_kib;
}

/* What is written to the volume while it is copied needs as much as the volume, and so does the clone. */
static int need_room(struct lvm_target *g, const struct dev *src, struct trouble *t)
{
        struct pool_info i;
        int err = lvm_thick_info(&g->p, &i, &g->a, t);
        if (err != 0) return err;
        uint64_t need = whole_extents(cow_store_kib(src->size_kib), &i) + whole_extents(src->size_kib, &i);
        if (i.free_kib >= need) return 0;
        trouble_set(t, E_NO_SPACE, TROUBLE_NO_SPACE, "Volume group %s has no room to clone %s/%s.", g->p.vg,
                g->p.vg, src->backing_id);
        trouble_cause(t,
                "Until it is copied, %llu KiB are needed: as much as the volume for what is written to it "
                "meanwhile, and as much for the clone. %llu KiB are free.",
                (unsigned long long)need, (unsigned long long)i.free_kib);
        trouble_fix(t, "Extend the volume group ('vgextend') or free space in it, and clone again.");
        return E_NO_SPACE;
}

static int make_cow(struct lvm_target *g, const struct dev *src, const struct dev *d, struct trouble *t)
{
        struct lvm_words none = { 0 };
        char tag[LVM_TAG_SIZE];
        int err = mark_of(d, tag, t);
        if (err != 0) return err;
        const char *fixed[] = { "--snapshot", "--chunksize", arena_printf(&g->a, "%uk", COW_CHUNK_KIB),
                "--size", arena_printf(&g->a, "%lluk", (unsigned long long)cow_store_kib(src->size_kib)),
                "--name", d->backing_id, "--addtag", tag, "--addtag",
                arena_printf(&g->a, LVM_TAG_SNAPSHOT "%s", d->snap_name), NULL };
        err = lvm_lvcreate(g, &none, fixed, arena_printf(&g->a, "%s/%s", g->p.vg, src->backing_id), t);
        inject_point(INJECT_LVM_CREATED);
        return err;
}

int lvm_thick_snapshot(const struct dev *src, const struct dev *d, bool quiet, struct trouble *t)
{
        struct lvm_target g;
        (void)quiet; /* it is of one point in time in any case */
        lvm_target_name(&g, d);
        int err = need_room(&g, src, t);
        if (err == 0) err = dev_flush(src, t);
        if (err == 0) err = make_cow(&g, src, d, t);
        err = taken_before(err, d, t);
        lvm_target_done(&g);
        return err;
}

/* Finds the snapshot src, which can be read. */
static int need_cow(struct lvm_target *g, const struct dev *src, struct lvm_lv **ret, struct trouble *t)
{
        uint32_t n;
        int err = lvm_read_lvs(g->p.vg, src->backing_id, &g->a, ret, &n, t);
        if (err != 0) return err;
        bool there = n > 0 && lvm_is_cow(*ret) && (*ret)->origin_bytes > 0;
        if (there && !lvm_cow_invalid(*ret)) return 0;
        trouble_set(t, E_STORAGE, TROUBLE_POOL,
                "Snapshot %s/%s, of which %s is to be a copy, cannot be read.", g->p.vg, src->backing_id,
                g->path);
        if (there)
                trouble_cause(t, "It has become invalid, for its store could not be written (lvs: '%s').",
                        (*ret)->attr);
        else trouble_cause(t, "It is gone, or is no snapshot any more.");
        trouble_fix(
                t, "Look into the kernel log and mend the volume group. Delete the clone, and clone again.");
        return E_STORAGE;
}

static int copy_failed(
        struct lvm_target *g, const struct dev *src, const struct copy_fault *f, struct trouble *t)
{
        struct lvm_lv *lv;
        int err = f->reading ? need_cow(g, src, &lv, t) : 0;
        if (err != 0) return err;
        return trouble_errno(t, f->number, "%s/%s cannot be %s at byte %llu", g->p.vg,
                f->reading ? src->backing_id : strchr(g->path, '/') + 1, f->reading ? "read" : "written",
                (unsigned long long)f->at);
}

/* Asks for the copy; the tag goes when it is whole. */
static int fill(struct lvm_target *g, const struct dev *src, const struct dev *d, struct trouble *t)
{
        struct lvm_lv *lv;
        struct copy_fault f;
        const char *from = lvm_device(&g->a, g->p.vg, src->backing_id),
                   *to = lvm_device(&g->a, g->p.vg, d->backing_id);
        int err = need_cow(g, src, &lv, t);
        if (err == 0 && !lv->active) /* with its volume */
                err = lvm_activate(g, arena_printf(&g->a, "%s/%s", g->p.vg, lv->origin), t);
        if (err != 0) return err;
        err = copies_ask(NULL, from, to, lv->origin_bytes, &f);
        if (err == E_STORAGE) return copy_failed(g, src, &f, t);
        if (err == E_LIMIT) return trouble_errno(t, EAGAIN, "%s cannot be copied", from);
        if (err != 0) return E_PENDING; /* or there are many, or the satellite ends */
        inject_point(INJECT_LVM_COPIED);
        return lvm(&g->a, NULL, t, "lvchange", "--yes", "--deltag", LVM_TAG_COPY, g->path, NULL);
}

int lvm_thick_restore(const struct dev *src, const struct dev *d, uint64_t size_kib, struct trouble *t)
{
        struct lvm_target g;
        int err = lvm_target_open(&g, d, t);
        bool fresh = err == 0 && g.lv == NULL, unfilled = err == 0 && (fresh || g.lv->unfilled);
        if (fresh) err = lvm_make(&g, d, MAX(size_kib, src->size_kib), LVM_TAG_COPY, t);
        if (err == 0 && (fresh || (unfilled && g.lv->raw))) err = lvm_finish_raw(&g, t);
        else if (err == 0 && unfilled && !g.lv->active) err = lvm_activate(&g, g.path, t);
        if (err == 0 && unfilled) err = fill(&g, src, d, t);
        lvm_target_done(&g);
        return err;
}

int lvm_stop_copy(struct lvm_target *g, const struct dev *d, struct trouble *t)
{
        bool any;
        if (g->lv == NULL || (!g->lv->unfilled && !lvm_is_cow(g->lv))) return 0;
        if (copies_stop(lvm_device(&g->a, g->p.vg, d->backing_id), &any) != 0)
                return trouble_errno(t, EBUSY, "The copying from or to %s does not stop", g->path);
        if (!any) return 0;
        lvm_target_done(g);
        return lvm_target_open(g, d, t);
}

int lvm_need_no_cow(const struct lvm_target *g, const char *what, struct trouble *t)
{
        if (g->p.thin != NULL || !lvm_has_cow(g->lv)) return 0;
        trouble_set(t, E_BUSY, TROUBLE_IN_USE, "Logical volume %s cannot be %s: it has a snapshot.", g->path,
                what);
        trouble_cause(
                t, "A clone is being made of it, or somebody took a snapshot by hand ('lvs -o +origin').");
        trouble_fix(t, "Wait for the clone, or remove the snapshot ('lvremove'). The satellite tries again "
                       "by itself.");
        return E_BUSY;
}
