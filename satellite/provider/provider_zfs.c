/* ZFS and ZFS_THIN: volumes (zvols) of a ZFS dataset, by the programs zfs and zpool. The two kinds are two ways of filling the same
 * volume: with a reservation of its whole size, or without.
 *
 * place: "POOL" or "POOL/DATASET". A volume is PLACE/ID and carries its mark (zfs_report.h) from its first transaction on; a snapshot is
 * PLACE/VOLUME@ID, whatever the volume is called, for its volume may change: rolling back moves snapshots from one to another. A
 * volume that is down has volmode=none: no device.
 *
 * ZFS makes what is made from a snapshot depend on it, and the snapshot on its volume. So removing gives the thing a name under which
 * nobody looks for it (HIDDEN_GONE), and tidy() destroys what has such a name as soon as ZFS lets it: a snapshot when its last clone
 * is gone; a volume when it has no snapshots, and where all that it has are to go, they are handed to a clone that lives ("promote"),
 * so that nothing but shared blocks stays. A volume that rolls back is made aside (HIDDEN_NEW) and takes over the snapshots up to
 * the one that it was made from; later ones stay with the old volume, which goes when they do.
 *
 * Volumes begin as zeros, and freed blocks are never read again: nothing has to be wiped. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "satellite/base/inject.h"
#include "satellite/provider/provider.h"
#include "satellite/provider/zfs_cmd.h"
#include "satellite/provider/zfs_options.h"
#include "satellite/provider/zvol.h"
#include "wire/codec/codec.h"

#define ZFS_ALLOCATION_KIB 16   /* whole blocks of 8 KiB and of 16 KiB, which are ZFS's defaults */
#define HIDDEN_GONE ".deleted." /* no backing id begins with '.' */
#define HIDDEN_NEW ".new."
#define DEVICE_MS 30000u
#define TIDY_PASSES 16
#define KIB 1024

static bool is_hidden(const char *component) { return component[0] == '.'; }
static bool is_to_go(const char *component)
{
        return strncmp(component, HIDDEN_GONE, strlen(HIDDEN_GONE)) == 0;
}

/* ---- places ---- */

static int zfs_place(const struct strmap *props, struct arena *a, const char **ret, struct trouble *t)
{
        static const char *const keys[] = { "StorDriver/StorPoolName", "StorDriver/ZPoolThin",
                "StorDriver/ZPool" };
        const char *text = NULL;
        for (size_t i = 0; i < ARRAY_LEN(keys) && (text == NULL || text[0] == '\0'); i++)
                text = strmap_get(props, keys[i]);
        if (text != NULL && zfs_place_valid(text)) {
                *ret = arena_strdup(a, text);
                return 0;
        }
        trouble_set(t, E_CONFIG, TROUBLE_POOL, "The pool does not name a ZFS pool or dataset.");
        if (text == NULL || text[0] == '\0') trouble_cause(t, "StorDriver/StorPoolName is not set.");
        else trouble_cause(t, "It says \"%.64s\".", text);
        trouble_fix(t, "Set the pool's property StorDriver/StorPoolName to POOL or POOL/DATASET.");
        return E_CONFIG;
}

/* A reservation holds room for the blocks that point to blocks, too: 2 x 128 KiB for 1024 blocks of (at least) 8 KiB. */
static uint64_t reservable_kib(uint64_t free_kib) { return free_kib / 33 * 32; }

static int zfs_info(const char *place, bool thin, struct pool_info *ret, struct trouble *t)
{
        struct arena a = { 0 };
        struct zfs_space at, root;
        *ret = (struct pool_info){ .snapshots = true };
        int err = zpool_check(place, &a, &ret->warning, t);
        if (err == 0) err = zfs_space_of(place, &a, &at, &root, t);
        if (err == 0) {
                ret->total_kib = (root.used_bytes + root.available_bytes) / KIB;
                if (at.quota_bytes > 0) ret->total_kib = MIN(ret->total_kib, at.quota_bytes / KIB);
                ret->free_kib = MIN(at.available_bytes / KIB, ret->total_kib);
                if (!thin) ret->free_kib = reservable_kib(ret->free_kib);
        }
        arena_done(&a);
        return err;
}

static int thick_info(const char *place, struct pool_info *ret, struct trouble *t)
{
        return zfs_info(place, false, ret, t);
}
static int thin_info(const char *place, struct pool_info *ret, struct trouble *t)
{
        return zfs_info(place, true, ret, t);
}

/* ---- devices ---- */

static void take_row(const struct zfs_row *r, struct arena *a, struct dev *d)
{
        d->exists = true;
        d->marked = zfs_read_mark(r->mark, a, d);
        d->granule_kib = r->block_bytes / KIB;
        d->size_kib = r->volsize_bytes / KIB;
        d->allocated_kib = MAX(r->referenced_bytes, r->reserved_bytes > 0 ? r->volsize_bytes : 0) / KIB;
        d->backing_path = r->name;
        if (r->type != ZFS_VOLUME) return;
        struct zvol z;
        d->raw = d->marked && d->kind == provider_kind_ZFS && r->reserved_bytes == 0;
        /* without its stable name it is not up yet, or not any more: attach() sees to that */
        if (zvol_find(r->name, &z) != 0 || !z.linked) return;
        d->attached = true;
        d->in_use = z.in_use;
        d->device_kib = z.size_kib;
        d->device_path = arena_strdup(a, z.path);
}

/* The volume or snapshot with that backing id; NULL. */
static const struct zfs_row *row_of(const struct zfs_row *rows, uint32_t n, const char *place, const char *id)
{
        for (uint32_t i = 0; i < n; i++) {
                const char *child = zfs_child_of(&rows[i], place);
                if (child == NULL || rows[i].type == ZFS_FILESYSTEM) continue;
                if (strcmp(rows[i].type == ZFS_SNAPSHOT ? zfs_snapshot_of(&rows[i]) : child, id) == 0)
                        return &rows[i];
        }
        return NULL;
}

static int name_check(const char *place, const char *id, struct trouble *t)
{
        size_t n = strlen(id);
        /* a snapshot's whole name has the volume's, which is no longer, in it */
        if (zfs_component_valid(id, n) && strlen(place) + 2 * n + 8 <= ZFS_NAME_MAX) return 0;
        return trouble_set(t, E_INVALID, TROUBLE_INVALID_VOLUME_NUMBER,
                "'%s' cannot be the name of a ZFS volume in %s.", id, place);
}

struct survey {
        struct zfs_row *rows;
        uint32_t n;
};

static int zfs_survey(const char *place, struct arena *a, const void **ret, struct trouble *t)
{
        struct survey *s = arena_new(a, struct survey);
        int err = zpool_check_quick(place, a, t);
        if (err == 0) err = zfs_list(place, a, &s->rows, &s->n, t);
        *ret = s;
        return err;
}

static int zfs_probe_in(const void *survey, struct dev *d, struct arena *a, struct trouble *t)
{
        const struct survey *s = survey;
        int err = name_check(d->place, d->backing_id, t);
        if (err != 0) return err;
        const struct zfs_row *row = row_of(s->rows, s->n, d->place, d->backing_id);
        d->unknown = false;
        d->backing_path = arena_printf(a, "%s/%s", d->place, d->backing_id);
        if (row != NULL) take_row(row, a, d);
        return 0;
}

static int zfs_probe(struct dev *d, struct arena *a, struct trouble *t)
{
        const void *survey;
        d->exists = d->raw = d->attached = d->marked = d->lost = d->in_use = false;
        d->device_path = NULL;
        d->unknown = true;
        int err = zfs_survey(d->place, a, &survey, t);
        return err != 0 ? err : zfs_probe_in(survey, d, a, t);
}

static int zfs_list_kind(const char *place, enum provider_kind kind, struct arena *a, struct dev **ret,
        uint32_t *ret_n, struct trouble *t)
{
        struct zfs_row *rows;
        uint32_t n;
        int err = zpool_check_quick(place, a, t);
        if (err == 0) err = zfs_list(place, a, &rows, &n, t);
        if (err != 0) return err;
        struct dev *devs = arena_array(a, struct dev, n + 1);
        if (devs == NULL)
                return trouble_set(t, E_TOO_LARGE, TROUBLE_POOL, "There are too many volumes in %s.", place);
        const char *kept_place = arena_strdup(a, place);
        *ret = devs;
        *ret_n = 0;
        for (uint32_t i = 0; i < n; i++) {
                const char *id = zfs_child_of(&rows[i], place);
                if (id == NULL || rows[i].type == ZFS_FILESYSTEM) continue;
                if (rows[i].type == ZFS_SNAPSHOT) id = zfs_snapshot_of(&rows[i]);
                if (!backing_id_valid(id)) continue;
                struct dev *d = &devs[(*ret_n)++];
                *d = (struct dev){ .kind = kind, .place = kept_place, .backing_id = id };
                take_row(&rows[i], a, d);
        }
        return 0;
}

static int thick_list(
        const char *place, struct arena *a, struct dev **ret, uint32_t *ret_n, struct trouble *t)
{
        return zfs_list_kind(place, provider_kind_ZFS, a, ret, ret_n, t);
}
static int thin_list(const char *place, struct arena *a, struct dev **ret, uint32_t *ret_n, struct trouble *t)
{
        return zfs_list_kind(place, provider_kind_ZFS_THIN, a, ret, ret_n, t);
}

/* ---- changes ---- */

/* What a change is about to touch. */
struct target {
        struct arena a;
        const char *place, *path; /* path: PLACE/ID, also where there is nothing (yet) */
        struct zfs_row *rows;     /* of the whole place */
        uint32_t n;
        const struct zfs_row *row; /* NULL: there is none */
};

#define RUN(g, t, ...) run_words(&(g)->a, t, (const char *const[]){ __VA_ARGS__, NULL })
static int run_words(struct arena *a, struct trouble *t, const char *const *words)
{
        struct zfs_args c = { 0 };
        for (; *words != NULL; words++) zfs_arg(&c, *words);
        return zfs_run(&c, a, t);
}

static int target_list(struct target *g, struct trouble *t)
{
        g->row = NULL;
        return zfs_list(g->place, &g->a, &g->rows, &g->n, t);
}

/* Looks the device up and checks that it is d's. 0 also when there is none. The caller ends with target_done(). */
static int target_open(struct target *g, const struct dev *d, struct trouble *t)
{
        struct dev owner = { 0 };
        *g = (struct target){ .place = d->place };
        g->path = arena_printf(&g->a, "%s/%s", d->place, d->backing_id);
        int err = name_check(d->place, d->backing_id, t);
        if (err == 0) err = zpool_check_quick(d->place, &g->a, t);
        if (err == 0) err = target_list(g, t);
        if (err != 0) return err;
        g->row = row_of(g->rows, g->n, d->place, d->backing_id);
        if (g->row == NULL) return 0;
        bool same = zfs_read_mark(g->row->mark, &g->a, &owner) ? dev_is_owned(&owner, d) : d->made;
        if (same) return 0;
        return dev_not_ours(t, d, &owner, arena_printf(&g->a, "ZFS volume %s", g->row->name),
                "mark (user property)", "Rename it ('zfs rename')");
}

/* As target_open, but it must be there, and a volume. */
static int target_need(struct target *g, const struct dev *d, struct trouble *t)
{
        int err = target_open(g, d, t);
        if (err != 0 || (g->row != NULL && g->row->type == ZFS_VOLUME)) return err;
        trouble_set(t, E_NOT_FOUND, TROUBLE_POOL, "ZFS volume %s is gone.", g->path);
        trouble_fix(t, "Restore it ('zfs receive'), or delete the resource from this node.");
        return E_NOT_FOUND;
}

static void target_done(struct target *g) { arena_done(&g->a); }

static const char *setting(struct target *g, const char *property, const char *value)
{
        return arena_printf(&g->a, "%s=%s", property, value);
}

/* "PROPERTY=MARK" for d. */
static int mark_of(struct target *g, const struct dev *d, const char **ret, struct trouble *t)
{
        char mark[ZFS_MARK_SIZE];
        if (zfs_write_mark(d, mark) != 0)
                return trouble_set(t, E_INVALID, TROUBLE_UNKNOWN,
                        "Resource %s cannot be marked with a user property.", d->rsc_name);
        *ret = setting(g, d->snap_name != NULL ? ZFS_MARK_SNAPSHOT : ZFS_MARK_VOLUME, mark);
        return 0;
}

static int options_of(
        struct target *g, const struct dev *d, bool create, struct zfs_options *ret, struct trouble *t)
{
        const char *key = create ? "StorDriver/ZfscreateOptions" : "StorDriver/ZfsSnapshotOptions";
        struct fail f = { 0 };
        if (zfs_options_parse(d->props != NULL ? strmap_get(d->props, key) : NULL, create, &g->a, ret, &f) ==
                0)
                return 0;
        trouble_set(t, E_CONFIG, TROUBLE_UNKNOWN, "The property %s cannot be used.", key);
        trouble_cause(t, "%s.", f.text);
        trouble_fix(t, "Correct the property. It takes -o property=value%s.", create ? " and -b size" : "");
        return E_CONFIG;
}

static uint64_t in_blocks(uint64_t bytes, uint64_t block)
{
        return block > 0 ? (bytes + block - 1) / block * block : bytes;
}

static int make(struct target *g, const struct dev *d, uint64_t size_kib, struct trouble *t)
{
        struct zfs_options o;
        const char *mark;
        int err = mark_of(g, d, &mark, t);
        if (err == 0) err = options_of(g, d, true, &o, t);
        if (err != 0) return err;
        struct zfs_args c = { 0 };
        ZFS_ARGS(&c, "zfs", "create");
        if (d->kind == provider_kind_ZFS_THIN) zfs_arg(&c, "-s");
        for (unsigned i = 0; i < o.n; i++) zfs_arg(&c, o.words[i]);
        ZFS_ARGS(&c, "-o", "volmode=none", "-o", mark, "-V",
                arena_printf(&g->a, "%llu", (unsigned long long)in_blocks(size_kib * KIB, o.block_bytes)),
                g->path);
        return zfs_run(&c, &g->a, t);
}

/* What a thick volume needs that was made as a clone. */
static int reserve(struct target *g, const char *path, struct trouble *t)
{
        int err = RUN(g, t, "zfs", "set", "refreservation=auto", path);
        inject_point(INJECT_ZFS_RESERVED);
        return err;
}

static int zfs_create(const struct dev *d, uint64_t size_kib, struct trouble *t)
{
        struct target g;
        int err = target_open(&g, d, t);
        if (err == 0 && g.row == NULL) {
                err = make(&g, d, size_kib, t);
                inject_point(INJECT_ZFS_CREATED);
        } else if (err == 0 && d->kind == provider_kind_ZFS && g.row->reserved_bytes == 0)
                err = reserve(&g, g.path, t);
        target_done(&g);
        return err;
}

static int zfs_adopt(const struct dev *d, struct trouble *t)
{
        struct target g;
        struct dev owner = { 0 };
        const char *mark;
        int err = target_need(&g, d, t);
        if (err == 0 && zfs_read_mark(g.row->mark, &g.a, &owner) && owner.vlm_uuid == NULL) {
                err = mark_of(&g, d, &mark, t);
                if (err == 0) err = RUN(&g, t, "zfs", "set", mark, g.path);
        }
        target_done(&g);
        return err;
}

static int zfs_resize(const struct dev *d, uint64_t size_kib, struct trouble *t)
{
        struct target g;
        int err = target_need(&g, d, t);
        if (err == 0) {
                uint64_t bytes = in_blocks(size_kib * KIB, g.row->block_bytes);
                if (bytes != g.row->volsize_bytes)
                        err = RUN(&g, t, "zfs", "set",
                                arena_printf(&g.a, "volsize=%llu", (unsigned long long)bytes), g.path);
        }
        inject_point(INJECT_ZFS_RESIZED);
        target_done(&g);
        return err;
}

static int zfs_attach(const struct dev *d, struct trouble *t)
{
        struct target g;
        struct zvol z;
        int err = target_need(&g, d, t);
        if (err == 0 && (g.row->hidden || zvol_find(g.path, &z) != 0))
                err = RUN(&g, t, "zfs", "set", "volmode=dev", g.path);
        if (err == 0) {
                err = zvol_wait(g.path, DEVICE_MS, &z);
                if (err != 0) {
                        trouble_set(t, err, TROUBLE_POOL, "ZFS volume %s has no device.", g.path);
                        trouble_cause(t, ZVOL_DIR "/%s did not come up: %s.", g.path, err_text(err));
                        trouble_fix(t,
                                "Is zvol_inhibit_dev set in /sys/module/zfs/parameters? Is /dev a devtmpfs?");
                }
        }
        inject_point(INJECT_ZFS_ATTACHED);
        target_done(&g);
        return err;
}

/* The device grows with the volume, a moment later. */
static int zfs_refresh(const struct dev *d, struct trouble *t)
{
        struct zvol z;
        struct arena a = { 0 };
        int err = zvol_wait(arena_printf(&a, "%s/%s", d->place, d->backing_id), DEVICE_MS, &z);
        arena_done(&a);
        return err == 0 ? 0
                        : trouble_set(t, err, TROUBLE_POOL, "ZFS volume %s/%s has no device.", d->place,
                                  d->backing_id);
}

static int is_busy(const struct target *g, struct trouble *t)
{
        return trouble_errno(t, EBUSY, "ZFS volume %s cannot be taken down", g->path);
}

/* A device that somebody has open stays when its volume gets volmode=none: that is how we learn of it. */
static int hide(struct target *g, struct trouble *t)
{
        struct zvol z;
        int err = zvol_find(g->path, &z);
        if (err == E_NOT_FOUND) return g->row->hidden ? 0 : RUN(g, t, "zfs", "set", "volmode=none", g->path);
        if (err == 0 && z.in_use) return is_busy(g, t);
        for (unsigned i = 0; i < 3; i++) {
                err = RUN(g, t, "zfs", "set", "volmode=none", g->path);
                if (err == 0) err = zvol_wait_gone(g->path, 1500);
                if (err != E_TIMEOUT) return err;
                err = RUN(g, t, "zfs", "set", "volmode=dev", g->path);
                if (err != 0) return err;
        }
        return is_busy(g, t);
}

static int zfs_detach(const struct dev *d, struct trouble *t)
{
        struct target g;
        int err = target_open(&g, d, t);
        if (err == 0 && g.row != NULL && g.row->type == ZFS_VOLUME) err = hide(&g, t);
        inject_point(INJECT_ZFS_DETACHED);
        target_done(&g);
        return err;
}

/* ---- removing ---- */

/* Does the row belong to the volume (a snapshot of it)? */
static bool is_snapshot_of(const struct zfs_row *row, const char *volume)
{
        size_t n = strlen(volume);
        return row->type == ZFS_SNAPSHOT && strncmp(row->name, volume, n) == 0 && row->name[n] == '@';
}

/* A name that nobody has and nobody looks for. */
static const char *gone_name(struct target *g, const char *id)
{
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        return arena_printf(
                &g->a, HIDDEN_GONE "%llx%04lx.%.40s", (unsigned long long)now.tv_sec, now.tv_nsec >> 18, id);
}

/* A snapshot goes under a name of its own, so that the same name can be taken again while clones hold it. */
static int remove_snapshot(struct target *g, const struct zfs_row *s, struct trouble *t)
{
        if (s->clones[0] == '\0') return RUN(g, t, "zfs", "destroy", s->name);
        size_t volume = strcspn(s->name, "@");
        const char *name =
                arena_printf(&g->a, "%.*s@%s", (int)volume, s->name, gone_name(g, zfs_snapshot_of(s)));
        int err = RUN(g, t, "zfs", "rename", s->name, name);
        inject_point(INJECT_ZFS_RENAMED);
        return err != 0 ? err : RUN(g, t, "zfs", "destroy", "-d", name);
}

static bool has_snapshots(const struct target *g, const char *volume)
{
        for (uint32_t i = 0; i < g->n; i++)
                if (is_snapshot_of(&g->rows[i], volume)) return true;
        return false;
}

/* It keeps neither its device nor its reservation, and goes with its last snapshot. */
static int set_aside(struct target *g, const struct zfs_row *v, const char *id, struct trouble *t)
{
        int err = v->reserved_bytes > 0 ? RUN(g, t, "zfs", "set", "refreservation=none", v->name) : 0;
        if (err == 0 && !v->hidden) err = RUN(g, t, "zfs", "set", "volmode=none", v->name);
        if (err == 0)
                err = RUN(g, t, "zfs", "rename", v->name,
                        arena_printf(&g->a, "%s/%s", g->place, gone_name(g, id)));
        inject_point(INJECT_ZFS_RENAMED);
        return err;
}

static const struct zfs_row *volume_named(const struct target *g, const char *name)
{
        for (uint32_t i = 0; i < g->n; i++)
                if (g->rows[i].type == ZFS_VOLUME && strcmp(g->rows[i].name, name) == 0) return &g->rows[i];
        return NULL;
}

static const char *new_path(struct target *g, const char *id)
{
        return arena_printf(&g->a, "%s/" HIDDEN_NEW "%s", g->place, id);
}

/* What an interrupted replace() left, unless it is d's. */
static int clear_new(struct target *g, const char *id, const struct dev *d, struct trouble *t)
{
        const struct zfs_row *v = volume_named(g, new_path(g, id));
        struct dev owner = { 0 };
        if (v == NULL || !zfs_read_mark(v->mark, &g->a, &owner) || (d != NULL && dev_is_owned(&owner, d)))
                return 0;
        int err = set_aside(g, v, id, t);
        return err != 0 ? err : target_list(g, t);
}

/* ---- what is to go ---- */

/* Does it hold a snapshot that is not to go? What was received has no other volume. */
static bool holds_snapshot(const struct target *g, const char *volume)
{
        for (uint32_t i = 0; i < g->n; i++)
                if (is_snapshot_of(&g->rows[i], volume) && !is_to_go(zfs_snapshot_of(&g->rows[i])))
                        return true;
        return false;
}

/* A clone of the snapshot that is not to go itself, nor all that it holds; NULL. */
static const char *living_clone(struct target *g, const struct zfs_row *s)
{
        for (const char *p = s->clones; *p != '\0'; p += *p == ',') {
                size_t n = strcspn(p, ",");
                const char *name = arena_strndup(&g->a, p, n);
                const struct zfs_row *v = volume_named(g, name);
                const char *id = v != NULL ? zfs_child_of(v, g->place) : NULL;
                if (id != NULL && (!is_hidden(id) || holds_snapshot(g, name))) return name;
                p += n;
        }
        return NULL;
}

/* A volume that is to go, and all of whose snapshots are, hands them to a living clone of the youngest that has one. *done: it did. */
static int hand_over(struct target *g, const struct zfs_row *v, bool *done, struct trouble *t)
{
        const char *clone = NULL;
        uint64_t youngest = 0;
        for (uint32_t i = 0; i < g->n; i++) {
                const struct zfs_row *s = &g->rows[i];
                if (!is_snapshot_of(s, v->name)) continue;
                if (!is_to_go(zfs_snapshot_of(s))) return 0;
                const char *c = living_clone(g, s);
                if (c == NULL || s->txg < youngest) continue;
                youngest = s->txg;
                clone = c;
        }
        if (clone == NULL) return 0;
        *done = true;
        return RUN(g, t, "zfs", "promote", clone);
}

/* One thing that can go now, goes. */
static int tidy_row(struct target *g, const struct zfs_row *r, bool *done, struct trouble *t)
{
        const char *id = zfs_child_of(r, g->place);
        struct dev owner = { 0 };
        if (id == NULL || r->type == ZFS_FILESYSTEM) return 0;
        if (r->type == ZFS_SNAPSHOT) id = zfs_snapshot_of(r);
        if (!is_to_go(id) || !zfs_read_mark(r->mark, &g->a, &owner)) return 0;
        if (r->type == ZFS_VOLUME && has_snapshots(g, r->name)) return hand_over(g, r, done, t);
        if (r->type == ZFS_SNAPSHOT && r->deferred) return 0;
        *done = true;
        if (r->type == ZFS_SNAPSHOT) return RUN(g, t, "zfs", "destroy", "-d", r->name);
        return RUN(g, t, "zfs", "destroy", r->name);
}

static int tidy_rows(struct target *g, bool *done, struct trouble *t)
{
        int err = 0;
        for (uint32_t i = 0; i < g->n; i++) {
                struct trouble one = { 0 };
                int e = tidy_row(g, &g->rows[i], done, &one);
                /* somebody else was quicker, or it is in use: another time */
                if (e == 0 || e == E_NOT_FOUND || e == E_BUSY || e == E_EXISTS) continue;
                if (err == 0 && t != NULL) *t = one;
                err = e;
        }
        return err;
}

static int tidy(struct target *g, struct trouble *t)
{
        int err = 0;
        bool done = true;
        for (unsigned i = 0; err == 0 && done && i < TIDY_PASSES; i++) {
                done = false;
                err = target_list(g, t);
                if (err == 0) err = tidy_rows(g, &done, t);
        }
        return err;
}

static int zfs_tidy(const char *place, struct trouble *t)
{
        struct target g = { .place = place };
        int err = zpool_check_quick(place, &g.a, t);
        if (err == 0) err = tidy(&g, t);
        target_done(&g);
        return err;
}

static int zfs_remove(const struct dev *d, struct trouble *t)
{
        struct target g;
        struct zvol z;
        int err = target_open(&g, d, t);
        if (err == 0 && g.row != NULL && g.row->type == ZFS_SNAPSHOT) err = remove_snapshot(&g, g.row, t);
        else if (err == 0 && g.row != NULL) {
                if (zvol_find(g.path, &z) == 0 && z.in_use) err = is_busy(&g, t);
                else if (has_snapshots(&g, g.path)) err = set_aside(&g, g.row, d->backing_id, t);
                else err = RUN(&g, t, "zfs", "destroy", g.path);
        }
        inject_point(INJECT_ZFS_REMOVED);
        if (err == 0) err = clear_new(&g, d->backing_id, NULL, t);
        if (err == 0) (void)tidy(&g, NULL); /* what cannot go now is reported by the pool */
        target_done(&g);
        return err;
}

/* ---- snapshots ---- */

static int zfs_snapshot(const struct dev *src, const struct dev *d, bool quiet, struct trouble *t)
{
        struct target g;
        struct zfs_options o;
        const char *mark;
        (void)quiet; /* it is of one point in time in any case */
        int err = target_open(&g, d, t);
        if (err == 0 && g.row == NULL) {
                err = dev_flush(src, t);
                if (err == 0) err = mark_of(&g, d, &mark, t);
                if (err == 0) err = options_of(&g, d, false, &o, t);
                if (err == 0) {
                        struct zfs_args c = { 0 };
                        ZFS_ARGS(&c, "zfs", "snapshot", "-o", mark);
                        for (unsigned i = 0; i < o.n; i++) zfs_arg(&c, o.words[i]);
                        zfs_arg(&c, arena_printf(&g.a, "%s/%s@%s", d->place, src->backing_id, d->backing_id));
                        err = zfs_run(&c, &g.a, t);
                }
                inject_point(INJECT_ZFS_CREATED);
        }
        target_done(&g);
        return err;
}

/* The snapshot src, wherever it is by now. */
static int source_of(
        const struct target *g, const struct dev *src, const struct zfs_row **ret, struct trouble *t)
{
        const struct zfs_row *s = row_of(g->rows, g->n, g->place, src->backing_id);
        if (s != NULL && s->type == ZFS_SNAPSHOT) {
                *ret = s;
                return 0;
        }
        trouble_set(t, E_NOT_FOUND, TROUBLE_POOL, "Snapshot %s in %s is gone.", src->backing_id, g->place);
        trouble_fix(t, "Delete what is to be made from it, and make it from a snapshot that is there.");
        return E_NOT_FOUND;
}

static int clone_to(
        struct target *g, const struct dev *src, const struct dev *d, const char *path, struct trouble *t)
{
        const struct zfs_row *s;
        const char *mark;
        int err = source_of(g, src, &s, t);
        if (err == 0) err = mark_of(g, d, &mark, t);
        if (err == 0) err = RUN(g, t, "zfs", "clone", "-o", "volmode=none", "-o", mark, s->name, path);
        inject_point(INJECT_ZFS_CLONED);
        return err;
}

/* Reservation and size of a volume that was cloned. */
static int finish(const struct dev *src, const struct dev *d, uint64_t size_kib, struct trouble *t)
{
        int err = size_kib > src->size_kib ? zfs_resize(d, size_kib, t) : 0;
        return err == 0 && d->kind == provider_kind_ZFS ? zfs_create(d, size_kib, t) : err;
}

static int zfs_restore(const struct dev *src, const struct dev *d, uint64_t size_kib, struct trouble *t)
{
        struct target g;
        int err = target_open(&g, d, t);
        if (err == 0 && g.row == NULL) {
                err = clear_new(&g, d->backing_id, d, t);
                const char *new = new_path(&g, d->backing_id);
                if (err == 0 && volume_named(&g, new) != NULL) err = RUN(&g, t, "zfs", "rename", new, g.path);
                else if (err == 0) err = clone_to(&g, src, d, g.path, t);
        }
        target_done(&g);
        return err != 0 ? err : finish(src, d, size_kib, t);
}

/* Makes the new one aside, gives it the snapshots up to its own, and changes places with the old one. Interrupted before the old one
 * has lost its name, replace() goes on with what is there; after that, restore() does. */
static int change_places(struct target *g, const struct dev *src, const struct dev *d, struct trouble *t)
{
        int err = clear_new(g, d->backing_id, d, t);
        const char *new = new_path(g, d->backing_id);
        const struct zfs_row *v = volume_named(g, new), *s;
        if (err == 0 && v == NULL) err = clone_to(g, src, d, new, t);
        if (err == 0) err = source_of(g, src, &s, t);
        if (err == 0 && !is_snapshot_of(s, new)) err = RUN(g, t, "zfs", "promote", new);
        inject_point(INJECT_ZFS_PROMOTED);
        const struct zfs_row *old = volume_named(g, g->path);
        if (err == 0 && old != NULL) err = set_aside(g, old, d->backing_id, t);
        if (err == 0) err = RUN(g, t, "zfs", "rename", new, g->path);
        inject_point(INJECT_ZFS_REPLACED);
        return err;
}

static int zfs_replace(const struct dev *old, const struct dev *src, const struct dev *d, uint64_t size_kib,
        struct trouble *t)
{
        struct target g;
        struct zvol z;
        int err = target_need(&g, old, t);
        if (err == 0 && zvol_find(g.path, &z) == 0) err = hide(&g, t);
        if (err == 0) err = change_places(&g, src, d, t);
        if (err == 0) (void)tidy(&g, NULL);
        target_done(&g);
        return err != 0 ? err : finish(src, d, size_kib, t);
}

/* ---- what the node lacks ---- */

static const char *zfs_missing(struct arena *a)
{
        static const char *const programs[] = { "zfs", "zpool" };
        for (size_t i = 0; i < ARRAY_LEN(programs); i++)
                if (!exec_exists(programs[i]))
                        return arena_printf(
                                a, "%s is not installed: install the package zfsutils-linux", programs[i]);
        if (access("/sys/module/zfs", F_OK) != 0)
                return "the kernel module zfs is not loaded: install the package zfs-dkms, then run "
                       "'modprobe zfs'";
        if (access("/dev/zfs", R_OK | W_OK) == 0) return NULL;
        return "/dev/zfs cannot be opened: run as root";
}

#define ZFS_PROVIDER(kind_, info_, list_)                                                                   \
        {                                                                                                   \
                .kind = kind_, .backed = true, .allocation_kib = ZFS_ALLOCATION_KIB, .place = zfs_place,    \
                .missing = zfs_missing, .pool_info = info_, .list = list_, .probe = zfs_probe,              \
                .survey = zfs_survey, .probe_in = zfs_probe_in, .create = zfs_create, .resize = zfs_resize, \
                .attach = zfs_attach, .refresh = zfs_refresh, .detach = zfs_detach, .remove = zfs_remove,   \
                .adopt = zfs_adopt, .snapshot = zfs_snapshot, .restore = zfs_restore,                       \
                .replace = zfs_replace, .tidy = zfs_tidy                                                    \
        }
const struct provider provider_zfs = ZFS_PROVIDER(provider_kind_ZFS, thick_info, thick_list);
const struct provider provider_zfs_thin = ZFS_PROVIDER(provider_kind_ZFS_THIN, thin_info, thin_list);
