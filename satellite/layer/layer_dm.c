#include "satellite/layer/layer_dm.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "satellite/base/inject.h"
#include "satellite/base/signature.h"
#include "wire/codec/codec.h"

#define BUSY_AGAIN_MS 500 /* udev looks at a device whenever something closes it */
#define BUSY_LOOKS 3

/* ---- shared with other layers ---- */

const char *layer_prop(const struct layer_vol *v, const char *key)
{
        const char *s = v->props == NULL ? NULL : strmap_get(v->props, key);
        return s == NULL ? "" : s;
}

int layer_fail(
        const struct layer_vol *v, int err, enum trouble_code code, struct trouble *t, const char *what)
{
        trouble_set(t, err, code, "Resource %s, volume %llu: %s.", v->dev->rsc_name,
                (unsigned long long)v->dev->volume_number, what);
        trouble_fix(t, "Look into the kernel log. The satellite tries again by itself.");
        return err;
}

int layer_prop_bad(const struct layer_vol *v, const char *key, const char *why, struct trouble *t)
{
        trouble_set(t, E_CONFIG, TROUBLE_UNKNOWN, "Resource %s, volume %llu: property %s cannot be used.",
                v->dev->rsc_name, (unsigned long long)v->dev->volume_number, key);
        trouble_cause(t, "It is \"%.80s\": %s.", layer_prop(v, key), why);
        trouble_fix(t, "Change the property, or delete it. The satellite tries again by itself.");
        return E_CONFIG;
}

int layer_prop_number(const struct layer_vol *v, const char *key, uint64_t fallback, uint64_t max,
        uint64_t *ret, struct trouble *t)
{
        const char *text = layer_prop(v, key);
        char *end;
        *ret = fallback;
        if (text[0] == '\0') return 0;
        if (text[strspn(text, "0123456789")] != '\0' || strlen(text) > 18)
                return layer_prop_bad(v, key, "that is no number", t);
        *ret = strtoull(text, &end, 10);
        return *ret <= max ? 0 : layer_prop_bad(v, key, "that is too much", t);
}

uint64_t layer_sectors(const char *path)
{
        uint64_t bytes = 0;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return 0;
        if (ioctl(fd, BLKGETSIZE64, &bytes) != 0) bytes = 0;
        close(fd);
        return bytes / 512;
}

/* ---- names ---- */

struct dm_names {
        char name[DM_NAME_SIZE], uuid[DM_NAME_SIZE];
};

static int names_of(const struct dm_kind *k, const struct layer_vol *v, struct dm_names *n, struct trouble *t)
{
        const char *id = v->dev->vlm_uuid != NULL ? v->dev->vlm_uuid : v->dev->backing_id;
        int a = snprintf(n->name, sizeof n->name, "%s%s", k->prefix, v->dev->backing_id);
        int b = snprintf(n->uuid, sizeof n->uuid, "OUTRIGGER-%s-%s", k->target, id);
        if (a > 0 && b > 0 && a < DM_NAME_SIZE && b < DM_NAME_SIZE && dm_name_fits(n->name)) return 0;
        trouble_set(t, E_INVALID, TROUBLE_INVALID_VOLUME_NUMBER,
                "'%.100s' cannot be the name of a device of device-mapper.", v->dev->backing_id);
        trouble_fix(t, "Such names have letters, digits and #+-.:=@_, and at most %d of them.",
                DM_NAME_SIZE - 1 - (int)strlen(k->prefix));
        return E_INVALID;
}

static bool is_ours(const struct dm_names *n, const struct dm_dev *d)
{
        return d->there && strcasecmp(d->uuid, n->uuid) == 0;
}

/* ---- the beginning of the device with the metadata ---- */

enum home { HOME_UNKNOWN, HOME_ZERO, HOME_WRITTEN, HOME_FOREIGN };

static enum home read_home(const struct dm_kind *k, const struct layer_vol *v)
{
        unsigned char block[4096];
        const char *path = layer_extra_path(v, k->home);
        int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return HOME_UNKNOWN;
        ssize_t n = pread(fd, block, sizeof block, 0);
        close(fd);
        if (n != (ssize_t)sizeof block) return HOME_UNKNOWN;
        if (k->is_home(block)) return HOME_WRITTEN;
        for (size_t i = 0; i < sizeof block; i++)
                if (block[i] != 0) return HOME_FOREIGN;
        return HOME_ZERO;
}

/* ---- probe ---- */

static bool still_open(const char *name, struct arena *a)
{
        static const struct timespec pause = { .tv_nsec = BUSY_AGAIN_MS * 1000000L };
        bool busy = true;
        for (unsigned i = 0; i < BUSY_LOOKS && busy; i++) {
                struct dm_dev d;
                (void)nanosleep(&pause, NULL);
                busy = dm_look(name, a, &d, NULL) != 0 || d.opens > 0;
        }
        return busy;
}

int layer_dm_probe(const struct dm_kind *k, const struct layer_vol *v, struct arena *a, struct layer_dev *d,
        struct trouble *t)
{
        struct dm_names n;
        struct dm_dev seen;
        int err = names_of(k, v, &n, t);
        if (err == 0) err = dm_look(n.name, a, &seen, t);
        if (err != 0) return err;
        enum home home = read_home(k, v);
        d->cache_path = layer_extra_path(v, k->cache);
        if (k->home != k->cache) d->meta_path = layer_extra_path(v, k->home);
        d->looked = home != HOME_UNKNOWN;
        d->exists = home == HOME_WRITTEN;
        d->foreign = home == HOME_FOREIGN;
        if (d->foreign) d->found = "a cache device with something else on it";
        if (!seen.there) return 0;
        if (!is_ours(&n, &seen)) {
                d->looked = d->foreign = true;
                d->found = arena_printf(
                        a, "what cannot be opened: /dev/mapper/%s is there, and is not ours", n.name);
                return 0;
        }
        d->open = true;
        d->device_path = arena_printf(a, "/dev/mapper/%s", n.name);
        d->size_kib = seen.sectors / 2;
        d->broken = seen.target == NULL ? NULL : k->broken(&seen, a);
        d->lags = seen.suspended || seen.target == NULL || k->differs(&seen, a) ||
                  layer_sectors(v->below_path) / 8 > seen.sectors / 8;
        d->in_use = seen.opens > 0 && still_open(n.name, a);
        return 0;
}

/* ---- up ---- */

static int table_of(const struct dm_kind *k, const struct layer_vol *v, struct arena *a, const char **ret,
        struct trouble *t)
{
        if (layer_extra_path(v, k->cache) == NULL || layer_extra_path(v, k->home) == NULL) {
                layer_fail(v, E_NOT_FOUND, TROUBLE_POOL, t, "a device of its cache is down");
                trouble_cause(t, "What its storage pool reports says why.");
                trouble_fix(t,
                        "Bring the pool of the cache back; the satellite goes on by itself. If it is lost, "
                        "what was only in the cache is lost with it: delete the resource from this node.");
                return E_NOT_FOUND;
        }
        uint64_t sectors = layer_sectors(v->below_path) / 8 * 8;
        if (sectors == 0)
                return layer_fail(v, E_NOT_FOUND, TROUBLE_POOL, t, "the size of its device cannot be read");
        return k->table(v, sectors, a, ret, t);
}

/* Makes the device. */
static int bring_up(
        const struct dm_kind *k, const struct layer_vol *v, const struct dm_names *n, struct trouble *t)
{
        struct arena a = { 0 };
        const char *table;
        int err = table_of(k, v, &a, &table, t);
        if (err == 0) err = dm_create(n->name, n->uuid, table, t);
        arena_done(&a);
        return err;
}

static int taken(const struct layer_vol *v, const struct dm_names *n, struct trouble *t)
{
        layer_fail(v, E_EXISTS, TROUBLE_EXISTS, t, "the name of its device is taken");
        trouble_cause(
                t, "/dev/mapper/%s is there, and was not made by this satellite for this volume.", n->name);
        trouble_fix(t, "Nothing was done to it. Remove it when it is not needed ('dmsetup remove').");
        return E_EXISTS;
}

static int foreign(const struct layer_vol *v, enum layer_extra extra, const char *what, struct trouble *t)
{
        const char *path = layer_extra_path(v, extra);
        layer_fail(v, E_EXISTS, TROUBLE_EXISTS, t, "something else is on a device of its cache");
        trouble_cause(t, "%s holds: %s.", path != NULL ? path : "it", what);
        trouble_fix(
                t, "Nothing was done to it. If that is not needed, delete the resource and create it again.");
        return E_EXISTS;
}

static int emptied(const struct layer_vol *v, const struct dm_kind *k, struct trouble *t)
{
        layer_fail(v, E_NOT_FOUND, TROUBLE_POOL, t, "its cache is empty, and is not made again");
        trouble_cause(t,
                "%s was in use as a cache, and holds nothing any more. What was only in it is missing on %s.",
                layer_extra_path(v, k->home), v->below_path);
        trouble_fix(t, "If the data can be had elsewhere, delete the resource from this node.");
        return E_NOT_FOUND;
}

int layer_dm_make(const struct dm_kind *k, const struct layer_vol *v, struct trouble *t)
{
        struct arena a = { 0 };
        struct dm_names n;
        struct dm_dev seen;
        const char *table;
        int err = names_of(k, v, &n, t);
        if (err == 0) err = dm_look(n.name, &a, &seen, t);
        if (err == 0 && seen.there) err = is_ours(&n, &seen) ? 0 : taken(v, &n, t);
        else if (err == 0) {
                enum home home = read_home(k, v);
                const char *found = NULL;
                if (home == HOME_ZERO && k->cache != k->home)
                        found = signature_of(layer_extra_path(v, k->cache));
                if (home == HOME_UNKNOWN) err = table_of(k, v, &a, &table, t);
                if (err == 0 && home == HOME_UNKNOWN)
                        err = layer_fail(
                                v, E_NOT_FOUND, TROUBLE_POOL, t, "a device of its cache cannot be read");
                else if (home == HOME_FOREIGN) err = foreign(v, k->home, "data that is no cache's", t);
                else if (home == HOME_ZERO && v->made) err = emptied(v, k, t);
                else if (home == HOME_ZERO && found != NULL) err = foreign(v, k->cache, found, t);
                else if (home == HOME_ZERO) err = bring_up(k, v, &n, t);
                inject_point(INJECT_CACHE_MADE);
        }
        arena_done(&a);
        return err;
}

static int reload(
        const struct dm_kind *k, const struct layer_vol *v, const struct dm_names *n, struct trouble *t)
{
        struct arena a = { 0 };
        const char *table;
        int err = table_of(k, v, &a, &table, t);
        if (err == 0) err = dm_change(n->name, table, t);
        inject_point(INJECT_CACHE_GROWN);
        arena_done(&a);
        return err;
}

int layer_dm_open(const struct dm_kind *k, const struct layer_vol *v, struct trouble *t)
{
        struct arena a = { 0 };
        struct dm_names n;
        struct dm_dev seen;
        int err = names_of(k, v, &n, t);
        if (err == 0) err = dm_look(n.name, &a, &seen, t);
        if (err == 0 && seen.there) {
                if (!is_ours(&n, &seen)) err = taken(v, &n, t);
                else if (seen.suspended || seen.target == NULL) err = reload(k, v, &n, t);
        } else if (err == 0) {
                enum home home = read_home(k, v);
                if (home == HOME_ZERO) err = emptied(v, k, t);
                else if (home == HOME_FOREIGN) err = foreign(v, k->home, "data that is no cache's", t);
                else err = bring_up(k, v, &n, t);
                inject_point(INJECT_CACHE_OPENED);
        }
        arena_done(&a);
        return err;
}

int layer_dm_grow(const struct dm_kind *k, const struct layer_vol *v, struct trouble *t)
{
        struct dm_names n;
        int err = names_of(k, v, &n, t);
        return err == 0 ? reload(k, v, &n, t) : err;
}

/* ---- down ---- */

static int busy(const struct layer_vol *v, struct trouble *t)
{
        layer_fail(v, E_BUSY, TROUBLE_IN_USE, t, "its cached device is in use");
        trouble_fix(t, "End its use; the satellite tries again by itself.");
        return E_BUSY;
}

int layer_dm_close(const struct dm_kind *k, const struct layer_vol *v, struct trouble *t)
{
        struct arena a = { 0 };
        struct dm_names n;
        struct dm_dev seen = { 0 };
        int err = names_of(k, v, &n, t);
        if (err == 0) err = dm_look(n.name, &a, &seen, t);
        if (err == 0 && is_ours(&n, &seen)) {
                if (seen.opens > 0 && still_open(n.name, &a)) err = busy(v, t);
                /* A suspended one would not take what it is told. */
                if (err == 0 && (seen.suspended || seen.target == NULL) && v->props != NULL) {
                        err = reload(k, v, &n, t);
                        if (err == 0) err = dm_look(n.name, &a, &seen, t);
                }
                if (err == 0 && v->props != NULL) err = k->flush(v, n.name, &seen, &a, t);
                inject_point(INJECT_CACHE_FLUSHED);
                if (err == 0) err = dm_remove(n.name, t);
                inject_point(INJECT_CACHE_CLOSED);
        }
        arena_done(&a);
        return err;
}
