/* LVM and LVM_THIN: logical volumes of a volume group, or of a thin pool in it, by the programs of lvm2.
 *
 * A volume is made with its mark (lvm_report.h) in one metadata commit. Until its beginning and end are wiped it carries
 * LVM_TAG_RAW as well: thick space is not zeroed by LVM, and an old DRBD superblock at the end would be taken for a new one's; a
 * satellite that dies in between goes on with the wiping. Device names are /dev/VG/LV, which udev keeps stable.
 *
 * place: "VG" or "VG/THINPOOL". Our own devices and DRBD's are never scanned for physical volumes: those inside belong to the
 * guests that use the volumes. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "satellite/base/bcache_sys.h"
#include "satellite/base/claim.h"
#include "satellite/base/inject.h"
#include "satellite/base/modprobe.h"
#include "satellite/base/wipe.h"
#include "satellite/provider/lvm_cmd.h"
#include "satellite/provider/lvm_target.h"
#include "wire/codec/codec.h"
#include "wire/def/layer_size.h"

#define LVM_ALLOCATION_KIB 4 /* the group's extent size decides; it comes with each device */
#define CREATE_ARGS_MAX (LVM_ARGS_MAX + 2 * LVM_WORDS_MAX)
#define OPEN_MS 500
#define LET_GO_MS 10000u
#define METADATA_FULL 95.0 /* per cent of a thin pool's metadata from which on it is no longer used */

static const char *dev_dir = "/dev";

void lvm_set_dev_dir(const char *dir) { dev_dir = dir != NULL ? dir : "/dev"; }

const char *lvm_device(struct arena *a, const char *vg, const char *name)
{
        return arena_printf(a, "%s/%s/%s", dev_dir, vg, name);
}

static const char *target_device(struct lvm_target *g)
{
        return arena_printf(&g->a, "%s/%s", dev_dir, g->path);
}

static struct lvm_place split_place(const char *place, struct arena *a)
{
        const char *slash = strchr(place, '/');
        if (slash == NULL) return (struct lvm_place){ .vg = place };
        return (struct lvm_place){ .vg = arena_strndup(a, place, (size_t)(slash - place)),
                .thin = slash + 1 };
}

/* ---- places ---- */

static int bad_place(struct trouble *t, const char *what, const char *value)
{
        trouble_set(t, E_CONFIG, TROUBLE_POOL, "The pool does not name %s.", what);
        if (value == NULL) trouble_cause(t, "Neither StorDriver/LvmVg nor StorDriver/StorPoolName is set.");
        else trouble_cause(t, "It says \"%.64s\".", value);
        trouble_fix(
                t, "Set the pool's property StorDriver/StorPoolName to VG, or to VG/THINPOOL for LVM_THIN.");
        return E_CONFIG;
}

/* "vg" or "vg/thin" of the properties, NULL when there is neither. */
static const char *named_place(const struct strmap *props, bool thin, struct arena *a)
{
        const char *vg = strmap_get(props, "StorDriver/LvmVg"),
                   *pool = strmap_get(props, "StorDriver/ThinPool");
        if (vg == NULL || vg[0] == '\0') return strmap_get(props, "StorDriver/StorPoolName");
        if (!thin || strchr(vg, '/') != NULL || pool == NULL) return vg;
        return arena_printf(a, "%s/%s", vg, pool);
}

static int lvm_place_of(
        const struct strmap *props, bool thin, struct arena *a, const char **ret, struct trouble *t)
{
        const char *text = named_place(props, thin, a);
        if (text == NULL || text[0] == '\0') return bad_place(t, "a volume group", NULL);
        size_t vg = strcspn(text, "/");
        bool fits = lvm_name_valid(text, vg);
        if (thin) fits = fits && text[vg] == '/' && lvm_name_valid(text + vg + 1, strlen(text + vg + 1));
        else fits = fits && text[vg] == '\0';
        if (!fits) return bad_place(t, thin ? "a volume group and a thin pool" : "a volume group", text);
        *ret = arena_strdup(a, text);
        return 0;
}

static int thick_place(const struct strmap *props, struct arena *a, const char **ret, struct trouble *t)
{
        return lvm_place_of(props, false, a, ret, t);
}
static int thin_place(const struct strmap *props, struct arena *a, const char **ret, struct trouble *t)
{
        return lvm_place_of(props, true, a, ret, t);
}

/* ---- reports ---- */

int lvm_read_lvs(const char *vg, const char *name, struct arena *a, struct lvm_lv **ret, uint32_t *ret_n,
        struct trouble *t)
{
        struct exec_result r;
        const char *line = "";
        const char *select = name != NULL ? arena_printf(a, "lv_name=\"%s\"", name) : "";
        int err = lvm(a, &r, t, "lvs", "--noheadings", "--separator", "|", "--units", "b", "--nosuffix", "-o",
                LVM_LV_FIELDS, name != NULL ? "-S" : "", select, vg, NULL);
        if (err != 0) return err;
        err = lvm_parse_lvs(r.out, a, ret, ret_n, &line);
        return err == 0 ? 0 : lvm_not_understood(t, "lvs", err, line);
}

static const struct lvm_lv *lv_named(const struct lvm_lv *lv, uint32_t n, const char *name)
{
        for (uint32_t i = 0; i < n; i++)
                if (strcmp(lv[i].name, name) == 0) return &lv[i];
        return NULL;
}

/* udev looks at a device whenever something closes it: `open` means for longer than that. What is mounted, or below another device, is. */
static int look_again(const char *vg, struct lvm_lv *lv, struct arena *a, struct trouble *t)
{
        static const struct timespec pause = { .tv_nsec = OPEN_MS * 1000000L };
        struct lvm_lv *again;
        uint32_t n;
        if (!lv->open || device_is_claimed(lv->path)) return 0;
        (void)nanosleep(&pause, NULL);
        int err = lvm_read_lvs(vg, lv->name, a, &again, &n, t);
        lv->open = err == 0 && n > 0 && again->open;
        return err;
}

int lvm_read_lv(const char *vg, const char *name, struct arena *a, struct lvm_lv **ret, uint32_t *ret_n,
        struct trouble *t)
{
        int err = lvm_read_lvs(vg, name, a, ret, ret_n, t);
        return err != 0 || *ret_n == 0 ? err : look_again(vg, *ret, a, t);
}

/* ---- pools ---- */

static int thin_info(const struct lvm_place *p, struct pool_info *ret, struct arena *a, struct trouble *t)
{
        struct lvm_lv *lv;
        uint32_t n;
        int err = lvm_read_lvs(p->vg, p->thin, a, &lv, &n, t);
        if (err != 0) return err;
        if (n != 1 || lv->attr[0] != 't' || lv->data_percent < 0) {
                trouble_set(
                        t, E_NOT_FOUND, TROUBLE_POOL, "%s/%s is not an active thin pool.", p->vg, p->thin);
                trouble_cause(t, n == 0 ? "There is no logical volume of that name."
                                        : "It is another kind of volume, or not active.");
                trouble_fix(
                        t, "Make it with 'lvcreate --type thin-pool', or activate it with 'lvchange -ay'.");
                return E_NOT_FOUND;
        }
        char health = strlen(lv->attr) >= 9 ? lv->attr[8] : '-';
        if (health == 'F' || health == 'M' || lv->metadata_percent > METADATA_FULL) {
                trouble_set(t, E_STORAGE, TROUBLE_POOL, "Thin pool %s/%s cannot be used.", p->vg, p->thin);
                trouble_cause(t, "Its state is '%s', its metadata is %.0f %% full.", lv->attr,
                        lv->metadata_percent);
                trouble_fix(t, "Extend the metadata ('lvextend --poolmetadatasize'), or repair it "
                               "('lvconvert --repair').");
                return E_STORAGE;
        }
        double used = (double)lv->size_bytes / 1024 * lv->data_percent / 100;
        *ret = (struct pool_info){
                .total_kib = lv->size_bytes / 1024, .granule_kib = lv->extent_bytes / 1024, .snapshots = true
        };
        ret->free_kib = ret->total_kib - MIN(ret->total_kib, (uint64_t)used);
        return 0;
}

int lvm_thick_info(const struct lvm_place *p, struct pool_info *ret, struct arena *a, struct trouble *t)
{
        struct exec_result r;
        struct lvm_vg *vg;
        uint32_t n;
        const char *line = "";
        int err = lvm(a, &r, t, "vgs", "--noheadings", "--separator", "|", "--units", "b", "--nosuffix", "-o",
                LVM_VG_FIELDS, p->vg, NULL);
        if (err != 0) return err;
        err = lvm_parse_vgs(r.out, a, &vg, &n, &line);
        if (err != 0 || n != 1)
                return lvm_not_understood(t, "vgs", err != 0 ? err : E_PROTOCOL, err != 0 ? line : r.out);
        if (strchr(vg->attr, 'p') != NULL) {
                trouble_set(t, E_STORAGE, TROUBLE_POOL, "Volume group %s lacks a disk.", p->vg);
                trouble_cause(t, "Its attributes are '%s' (partial).", vg->attr);
                trouble_fix(
                        t, "Bring the disk back, or remove it from the group ('vgreduce --removemissing').");
                return E_STORAGE;
        }
        *ret = (struct pool_info){ .total_kib = vg->size_bytes / 1024,
                .free_kib = vg->free_bytes / 1024,
                .granule_kib = vg->extent_bytes / 1024 };
        return 0;
}

/* Before a pool is used, not when the first volume or snapshot needs one, with I/O held: and lvcreate fails on a module that another lvcreate
 * is just loading ("Required device-mapper target(s) not detected in your kernel", lvm2 2.03). */
static void load_snapshot(void) { modprobe_try("dm_snapshot"); }
static void load_thin(void) { modprobe_try("dm_thin_pool"); }
static void load_targets(bool thin)
{
        static pthread_once_t snapshot_once = PTHREAD_ONCE_INIT, thin_once = PTHREAD_ONCE_INIT;
        (void)pthread_once(&snapshot_once, load_snapshot); /* lvcreate wants it for thin snapshots, too */
        if (thin) (void)pthread_once(&thin_once, load_thin);
}

static int lvm_info(const char *place, struct pool_info *ret, struct trouble *t)
{
        struct arena a = { 0 };
        struct lvm_place p = split_place(place, &a);
        load_targets(p.thin != NULL);
        int err = p.thin != NULL ? thin_info(&p, ret, &a, t) : lvm_thick_info(&p, ret, &a, t);
        arena_done(&a);
        return err;
}

/* ---- devices ---- */

static bool is_volume(const struct lvm_lv *lv, const struct lvm_place *p)
{
        if (lv->attr[0] == '\0' || strchr("V-oOrRmMsS", lv->attr[0]) == NULL) return false; /* raid, mirror */
        bool thin = lv->attr[0] == 'V';
        if (thin != (p->thin != NULL)) return false;
        return !thin || strcmp(lv->pool, p->thin) == 0;
}

static void take_lv(const struct lvm_lv *lv, struct arena *a, struct dev *d)
{
        d->exists = true;
        d->raw = lv->raw && !lv->unfilled;
        d->unfilled = lv->unfilled;
        d->marked = lvm_read_mark(lv->tags, a, d);
        d->granule_kib = lv->extent_bytes / 1024;
        bool cow = lvm_is_cow(lv); /* up as long as its volume is */
        d->size_kib = (cow ? lv->origin_bytes : lv->size_bytes) / 1024;
        d->allocated_kib = lv->attr[0] == 'V'
                                   ? (uint64_t)((double)d->size_kib * MAX(lv->data_percent, 0.0) / 100)
                                   : lv->size_bytes / 1024;
        d->attached = lv->active && !cow;
        d->in_use = lv->open && !cow && !lv->unfilled; /* else: by our own copying */
        d->device_kib = d->attached ? d->size_kib : 0;
        d->backing_path = lv->path;
        d->device_path = d->attached ? lv->path : NULL;
}

/* What a group held at one moment. */
struct lvm_survey {
        struct lvm_lv *lv;
        uint32_t n;
};

static int lvm_survey(const char *place, struct arena *a, const void **ret, struct trouble *t)
{
        struct lvm_place p = split_place(place, a);
        struct lvm_survey *s = arena_new(a, struct lvm_survey);
        *ret = s;
        return lvm_read_lvs(p.vg, NULL, a, &s->lv, &s->n, t);
}

/* survey NULL: looks for itself. */
static int lvm_probe_in(const void *survey, struct dev *d, struct arena *a, struct trouble *t)
{
        const struct lvm_survey *s = survey;
        struct lvm_place p = split_place(d->place, a);
        const struct lvm_lv *lv = NULL;
        struct lvm_lv *found, one;
        uint32_t n = 0;
        int err = 0;
        d->exists = d->raw = d->unfilled = d->attached = d->marked = d->lost = d->in_use = false;
        d->device_path = NULL;
        d->unknown = true;
        if (!lvm_name_valid(d->backing_id, strlen(d->backing_id)))
                return trouble_set(t, E_INVALID, TROUBLE_INVALID_VOLUME_NUMBER,
                        "'%s' cannot be the name of a logical volume.", d->backing_id);
        if (s != NULL) lv = lv_named(s->lv, s->n, d->backing_id);
        else err = lvm_read_lvs(p.vg, d->backing_id, a, &found, &n, t);
        if (n > 0) lv = found;
        if (lv != NULL) {
                one = *lv;
                err = look_again(p.vg, &one, a, t);
        }
        if (err != 0) return err;
        d->unknown = false;
        d->backing_path = lvm_device(a, p.vg, d->backing_id);
        if (lv != NULL) take_lv(&one, a, d);
        return 0;
}

static int lvm_probe(struct dev *d, struct arena *a, struct trouble *t)
{
        return lvm_probe_in(NULL, d, a, t);
}

static int lvm_list(const char *place, struct arena *a, struct dev **ret, uint32_t *ret_n, struct trouble *t)
{
        struct lvm_place p = split_place(place, a);
        struct lvm_lv *lv;
        uint32_t n;
        int err = lvm_read_lvs(p.vg, NULL, a, &lv, &n, t);
        if (err != 0) return err;
        struct dev *devs = arena_array(a, struct dev, n + 1);
        if (devs == NULL)
                return trouble_set(t, E_TOO_LARGE, TROUBLE_POOL, "There are too many volumes in %s.", p.vg);
        const char *kept_place = arena_strdup(a, place);
        *ret = devs;
        *ret_n = 0;
        for (uint32_t i = 0; i < n; i++) {
                if (!is_volume(&lv[i], &p) || !backing_id_valid(lv[i].name)) continue;
                struct dev *d = &devs[(*ret_n)++];
                *d = (struct dev){ .kind = p.thin != NULL ? provider_kind_LVM_THIN : provider_kind_LVM,
                        .place = kept_place,
                        .backing_id = lv[i].name };
                take_lv(&lv[i], a, d);
        }
        return 0;
}

/* ---- changes ---- */

void lvm_target_name(struct lvm_target *g, const struct dev *d)
{
        *g = (struct lvm_target){ 0 };
        g->p = split_place(d->place, &g->a);
        g->path = arena_printf(&g->a, "%s/%s", g->p.vg, d->backing_id);
}

int lvm_target_open(struct lvm_target *g, const struct dev *d, struct trouble *t)
{
        struct dev owner = { 0 };
        uint32_t n;
        lvm_target_name(g, d);
        int err = lvm_read_lv(g->p.vg, d->backing_id, &g->a, &g->lv, &n, t);
        if (err != 0) return err;
        if (n == 0) {
                g->lv = NULL;
                return 0;
        }
        bool marked = lvm_read_mark(g->lv->tags, &g->a, &owner);
        bool same = marked ? dev_is_owned(&owner, d) : d->made;
        if (same) return 0;
        return dev_not_ours(t, d, &owner, arena_printf(&g->a, "Logical volume %s", g->path), "tag",
                "Rename it ('lvrename')");
}

int lvm_target_need(struct lvm_target *g, const struct dev *d, struct trouble *t)
{
        int err = lvm_target_open(g, d, t);
        if (err != 0 || g->lv != NULL) return err;
        trouble_set(t, E_NOT_FOUND, TROUBLE_POOL, "Logical volume %s is gone.", g->path);
        trouble_fix(t, "Restore it from the metadata backup ('vgcfgrestore'), or delete the resource from "
                       "this node.");
        return E_NOT_FOUND;
}

void lvm_target_done(struct lvm_target *g) { arena_done(&g->a); }

/* A superblock of bcache in it was registered by udev in the moment in which the volume was activated. */
static int wipe_target(struct lvm_target *g, struct trouble *t)
{
        const char *path = target_device(g);
        int err = bcache_let_go(path, LET_GO_MS);
        if (err == 0) err = wipe_device(path);
        return err == 0 ? 0 : trouble_errno(t, err, "%s cannot be wiped", path);
}

int lvm_activate(struct lvm_target *g, const char *path, struct trouble *t)
{
        return lvm(
                &g->a, NULL, t, "lvchange", "--yes", "--ignoreactivationskip", "--activate", "y", path, NULL);
}

int lvm_finish_raw(struct lvm_target *g, struct trouble *t)
{
        int err = lvm_activate(g, g->path, t);
        if (err == 0) err = wipe_target(g, t);
        inject_point(INJECT_LVM_WIPED);
        if (err == 0) err = lvm(&g->a, NULL, t, "lvchange", "--yes", "--deltag", LVM_TAG_RAW, g->path, NULL);
        return err;
}

const char *lvm_prop(const struct dev *d, const char *key)
{
        return d->props == NULL ? NULL : strmap_get(d->props, key);
}

int lvm_bad_option(const struct dev *d, const char *key, const struct fail *f, struct trouble *t)
{
        trouble_set(t, E_CONFIG, TROUBLE_UNKNOWN, "Resource %s, volume %llu: property %s cannot be used.",
                d->rsc_name, (unsigned long long)d->volume_number, key);
        trouble_cause(t, "%s.", f->text);
        trouble_fix(t, "Change the property, or delete it. The satellite tries again by itself.");
        return E_CONFIG;
}

/* The group's physical volumes in the wanted order, unless the options name some. */
static int choose_volumes(struct lvm_target *g, const struct dev *d, struct lvm_words *w, struct trouble *t)
{
        static const char key[] = "StorDriver/LvcreatePvSelection";
        struct exec_result r;
        struct fail f = { 0 };
        const char *sort;
        int err = lvm_sort_parse(lvm_prop(d, key), &g->a, &sort, &f);
        if (err != 0) return lvm_bad_option(d, key, &f, t);
        if (w->volumes_n > 0) return 0;
        err = lvm(&g->a, &r, t, "pvs", "--noheadings", "--sort", sort != NULL ? sort : "pv_used", "-o",
                "pv_name", "-S", arena_printf(&g->a, "vg_name=\"%s\"", g->p.vg), NULL);
        for (const char *p = r.out; err == 0 && *(p += strspn(p, " \n")) != '\0';) {
                size_t n = strcspn(p, " \n");
                if (p[0] != '/')
                        return lvm_not_understood(t, "pvs", E_PROTOCOL, p); /* [unknown]: a disk is missing */
                if (w->volumes_n == LVM_WORDS_MAX) break;
                w->volumes[w->volumes_n++] = arena_strndup(&g->a, p, n);
                p += n;
        }
        return err;
}

static int create_words(struct lvm_target *g, const struct dev *d, struct lvm_words *w, struct trouble *t)
{
        static const char type[] = "StorDriver/LvcreateType", options[] = "StorDriver/LvcreateOptions";
        struct fail f = { 0 };
        bool thin = g->p.thin != NULL;
        if (!thin && lvm_type_parse(lvm_prop(d, type), &g->a, w, &f) != 0)
                return lvm_bad_option(d, type, &f, t);
        if (lvm_options_parse(lvm_prop(d, options), thin ? LVM_USE_THIN : LVM_USE_THICK, &g->a, w, &f) != 0)
                return lvm_bad_option(d, options, &f, t);
        return thin ? 0 : choose_volumes(g, d, w, t);
}

int lvm_lvcreate(struct lvm_target *g, const struct lvm_words *w, const char *const *fixed, const char *at,
        struct trouble *t)
{
        const char *argv[CREATE_ARGS_MAX] = { "lvcreate", "--config", LVM_NO_SCAN, "--yes" };
        unsigned n = 4;
        for (; *fixed != NULL; fixed++) {
                assert(n < LVM_ARGS_MAX);
                argv[n++] = *fixed;
        }
        for (unsigned i = 0; i < w->n; i++) argv[n++] = w->words[i];
        argv[n++] = at;
        for (unsigned i = 0; i < w->volumes_n; i++) argv[n++] = w->volumes[i];
        return lvm_run(&g->a, NULL, t, argv);
}

int lvm_make(
        struct lvm_target *g, const struct dev *d, uint64_t size_kib, const char *more, struct trouble *t)
{
        char tag[LVM_TAG_SIZE];
        struct lvm_words w = { 0 };
        if (lvm_write_mark(d, tag) != 0)
                return trouble_set(t, E_INVALID, TROUBLE_UNKNOWN, "Resource %s cannot be marked with a tag.",
                        d->rsc_name);
        int err = create_words(g, d, &w, t);
        if (err != 0) return err;
        const char *size = arena_printf(&g->a, "%lluk", (unsigned long long)size_kib);
        bool thin = g->p.thin != NULL;
        const char *fixed[15] = { "--wipesignatures", "y", "--addtag", tag, "--addtag", LVM_TAG_RAW, "--name",
                d->backing_id, thin ? "--virtualsize" : "--size", size };
        unsigned n = 10;
        if (thin) fixed[n++] = "--thinpool", fixed[n++] = g->p.thin;
        if (more != NULL) fixed[n++] = "--addtag", fixed[n++] = more;
        err = lvm_lvcreate(g, &w, fixed, g->p.vg, t);
        inject_point(INJECT_LVM_CREATED);
        return err;
}

static int lvm_create(const struct dev *d, uint64_t size_kib, struct trouble *t)
{
        struct lvm_target g;
        int err = lvm_target_open(&g, d, t);
        if (err == 0 && g.lv == NULL) {
                err = lvm_make(&g, d, size_kib, NULL, t);
                if (err == 0) err = lvm_finish_raw(&g, t);
        } else if (err == 0 && g.lv->unfilled) {
                err = trouble_set(
                        t, E_NOT_FOUND, TROUBLE_POOL, "Logical volume %s was never filled.", g.path);
                trouble_cause(t, "It was to become a copy of a snapshot, which nobody names any more.");
                trouble_fix(t, "Delete the resource from this node.");
        } else if (err == 0 && g.lv->raw) err = lvm_finish_raw(&g, t);
        lvm_target_done(&g);
        return err;
}

static int lvm_adopt(const struct dev *d, struct trouble *t)
{
        struct lvm_target g;
        char tag[LVM_TAG_SIZE];
        struct dev owner = { 0 };
        int err = lvm_target_need(&g, d, t);
        if (err == 0 && lvm_read_mark(g.lv->tags, &g.a, &owner) && owner.vlm_uuid == NULL &&
                lvm_write_mark(d, tag) == 0) {
                char old[LVM_TAG_SIZE];
                owner.rsc_name = d->rsc_name;
                err = lvm_write_mark(&owner, old);
                if (err == 0)
                        err = lvm(&g.a, NULL, t, "lvchange", "--yes", "--addtag", tag, "--deltag", old,
                                g.path, NULL);
        }
        lvm_target_done(&g);
        return err;
}

int lvm_resize(const struct dev *d, uint64_t size_kib, struct trouble *t)
{
        struct lvm_target g;
        int err = lvm_target_need(&g, d, t);
        if (err == 0 && g.lv->size_bytes / 1024 != size_kib) err = lvm_need_no_cow(&g, "resized", t);
        if (err == 0 && g.lv->size_bytes / 1024 != size_kib) {
                const char *size = arena_printf(&g.a, "%lluk", (unsigned long long)size_kib);
                bool grow = g.lv->size_bytes / 1024 < size_kib;
                err = lvm(&g.a, NULL, t, grow ? "lvextend" : "lvreduce", "--yes", grow ? "" : "--force",
                        "--size", size, g.path, NULL);
        }
        inject_point(INJECT_LVM_RESIZED);
        lvm_target_done(&g);
        return err;
}

static int lvm_attach(const struct dev *d, struct trouble *t)
{
        struct lvm_target g;
        int err = lvm_target_need(&g, d, t);
        if (err == 0 && !g.lv->active) {
                bool cow = lvm_is_cow(g.lv); /* comes up with its volume */
                err = lvm_activate(&g, cow ? arena_printf(&g.a, "%s/%s", g.p.vg, g.lv->origin) : g.path, t);
        }
        inject_point(INJECT_LVM_ATTACHED);
        lvm_target_done(&g);
        return err;
}

/* LVM resizes the device together with the volume. */
static int lvm_refresh(const struct dev *d, struct trouble *t)
{
        (void)d;
        (void)t;
        return 0;
}

static int need_unused(const struct lvm_target *g, struct trouble *t)
{
        if (!g->lv->open) return 0;
        return trouble_errno(t, EBUSY, "Logical volume %s cannot be taken down", g->path);
}

static int lvm_detach(const struct dev *d, struct trouble *t)
{
        struct lvm_target g;
        int err = lvm_target_open(&g, d, t);
        if (err == 0) err = lvm_stop_copy(&g, d, t);
        if (err == 0 && g.lv != NULL && g.lv->active) {
                err = need_unused(&g, t);
                if (err == 0) err = lvm(&g.a, NULL, t, "lvchange", "--yes", "--activate", "n", g.path, NULL);
        }
        inject_point(INJECT_LVM_DETACHED);
        lvm_target_done(&g);
        return err;
}

/* Thick space is handed out again as it is: the traces of a volume are wiped first. What was never filled may have begun with a copy of
 * a LUKS header, which nothing above knows of. */
static int wipe_thick(struct lvm_target *g, struct trouble *t)
{
        const char *path = target_device(g);
        int err = g->lv->active ? 0 : lvm_activate(g, g->path, t);
        if (err == 0) err = wipe_target(g, t);
        if (err != 0 || !g->lv->unfilled) return err;
        err = wipe_device_head(path, (uint64_t)LUKS_HEADER_KIB * 1024);
        return err == 0 ? 0 : trouble_errno(t, err, "%s cannot be wiped", path);
}

/* Classic snapshots are up together with their volume, for udev to see. */
static int release_cow(struct lvm_target *g, struct trouble *t)
{
        const char *path = target_device(g);
        int err = g->lv->active && !lvm_cow_invalid(g->lv) ? bcache_let_go(path, LET_GO_MS) : 0;
        return err == 0 ? 0 : trouble_errno(t, err, "Snapshot %s cannot be removed", path);
}

static int lvm_remove(const struct dev *d, struct trouble *t)
{
        struct lvm_target g;
        int err = lvm_target_open(&g, d, t);
        if (err == 0) err = lvm_stop_copy(&g, d, t);
        if (err == 0 && g.lv != NULL) {
                bool cow = lvm_is_cow(g.lv);
                if (cow) err = release_cow(&g, t);
                else err = lvm_need_no_cow(&g, "removed", t);
                if (err == 0 && !cow) err = need_unused(&g, t);
                if (err == 0 && !cow && g.p.thin == NULL) err = wipe_thick(&g, t);
                if (err == 0) err = lvm(&g.a, NULL, t, "lvremove", "--yes", "--force", g.path, NULL);
        }
        inject_point(INJECT_LVM_REMOVED);
        lvm_target_done(&g);
        return err;
}

static const char *lvm_missing(struct arena *a)
{
        static const char *const programs[] = { "lvs", "vgs", "lvcreate", "lvchange", "lvextend", "lvreduce",
                "lvremove", "lvrename", "pvs" };
        for (size_t i = 0; i < ARRAY_LEN(programs); i++)
                if (!exec_exists(programs[i]))
                        return arena_printf(a, "%s is not installed: install the package lvm2", programs[i]);
        if (access("/dev/mapper/control", R_OK | W_OK) == 0) return NULL;
        return "/dev/mapper/control cannot be opened: run as root and load the kernel module with 'modprobe "
               "dm_mod'";
}

static const char *lvm_thin_missing(struct arena *a)
{
        if (!exec_exists("thin_check"))
                return "thin_check is not installed: install the package thin-provisioning-tools";
        return lvm_missing(a);
}

#define LVM_PROVIDER(kind_, place_, missing_, ...)                                                          \
        {                                                                                                   \
                .kind = kind_, .backed = true, .allocation_kib = LVM_ALLOCATION_KIB, .place = place_,       \
                .missing = missing_, .pool_info = lvm_info, .list = lvm_list, .probe = lvm_probe,           \
                .survey = lvm_survey, .probe_in = lvm_probe_in, .create = lvm_create, .resize = lvm_resize, \
                .attach = lvm_attach, .refresh = lvm_refresh, .detach = lvm_detach, .remove = lvm_remove,   \
                .adopt = lvm_adopt, __VA_ARGS__                                                             \
        }
const struct provider provider_lvm = LVM_PROVIDER(provider_kind_LVM, thick_place, lvm_missing,
        .for_clones = true, .snapshot = lvm_thick_snapshot, .restore = lvm_thick_restore);
const struct provider provider_lvm_thin = LVM_PROVIDER(provider_kind_LVM_THIN, thin_place, lvm_thin_missing,
        .snapshot = lvm_snapshot, .restore = lvm_restore, .replace = lvm_replace);
