/* BCACHE: bcache, a cache of blocks on a fast device. Superblocks are written by make-bcache; everything else is sysfs.
 *
 * The device is found by what it lies on: /sys/dev/block/MAJOR:MINOR/bcache/dev of the data device; its number changes from start to
 * start. The cache set has the volume's uuid, so that another volume's cache is never attached. udev registers superblocks too:
 * whatever is registered already is left as it is.
 *
 * It counts as open as soon as the kernel has one of the two devices, so that closing lets go of both. A volume that is kept is
 * detached from its cache first: the kernel writes everything back. Then the cache goes, and then the device. The kernel cannot grow
 * a device that is up; it is stopped and registered again when nobody has it open. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "satellite/base/bcache_sys.h"
#include "satellite/base/claim.h"
#include "satellite/base/exec.h"
#include "satellite/base/inject.h"
#include "satellite/base/modprobe.h"
#include "satellite/base/signature.h"
#include "satellite/layer/dm.h"
#include "satellite/layer/layer_dm.h"
#include "wire/def/layer_size.h"

#define SUPER_AT 4096
#define POLL_MS 200
#define WAIT_MS 20000u
#define LIST_MS 5000u
#define FLUSH_MS 600000u
#define UUID_SIZE 37

static const unsigned char magic[16] = { 0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5,
        0x7f, 0x48, 0xba, 0x6d, 0x81 };

/* ---- superblocks ---- */

enum super { SUPER_UNKNOWN, SUPER_NONE, SUPER_THERE };

/* set_uuid (or NULL): of the cache set. */
static enum super read_super(const char *path, char set_uuid[UUID_SIZE])
{
        unsigned char b[4096];
        int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return SUPER_UNKNOWN;
        ssize_t n = pread(fd, b, sizeof b, SUPER_AT);
        close(fd);
        if (n != (ssize_t)sizeof b) return SUPER_UNKNOWN;
        if (memcmp(b + 24, magic, sizeof magic) != 0) return SUPER_NONE;
        for (unsigned i = 0, at = 0; set_uuid != NULL && i < 16; i++)
                at += (unsigned)snprintf(set_uuid + at, UUID_SIZE - at,
                        i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", b[56 + i]);
        return SUPER_THERE;
}

static const char *cache_path(const struct layer_vol *v) { return layer_extra_path(v, EXTRA_BCACHE); }

static bool is_own(const struct layer_vol *v, const char *uuid)
{
        return v->dev->vlm_uuid != NULL && strcasecmp(uuid, v->dev->vlm_uuid) == 0;
}

static enum super read_cache(const struct layer_vol *v, bool *ret_ours)
{
        char uuid[UUID_SIZE];
        enum super s = read_super(cache_path(v), uuid);
        *ret_ours = s == SUPER_THERE && is_own(v, uuid);
        return s;
}

/* *ret_ours: it has had no cache yet, or the volume's. */
static enum super read_data(const struct layer_vol *v, bool *ret_ours)
{
        char uuid[UUID_SIZE];
        enum super s = read_super(v->below_path, uuid);
        *ret_ours = s == SUPER_THERE && (is_own(v, uuid) || uuid[strspn(uuid, "0-")] == '\0');
        return s;
}

/* ---- sysfs ---- */

static const char *get(const char *path, struct arena *a)
{
        char text[128];
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return "";
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        if (n <= 0) return "";
        return arena_strndup(a, text, strcspn(text, "\n") < (size_t)n ? strcspn(text, "\n") : (size_t)n);
}

/* What is there of the data device's bcache device. */
struct seen {
        char dir[BCACHE_DIR_SIZE];
        bool registered;
        const char *name;  /* bcacheN; NULL: it is not up */
        const char *state; /* clean, dirty, no cache, inconsistent */
};

static void look(const char *below_path, struct arena *a, struct seen *s)
{
        char target[256];
        *s = (struct seen){ .state = "" };
        if (!bcache_block_dir(below_path, s->dir)) return;
        s->registered = access(arena_printf(a, "%s/bcache", s->dir), F_OK) == 0;
        if (!s->registered) return;
        s->state = get(arena_printf(a, "%s/bcache/state", s->dir), a);
        ssize_t n = readlink(arena_printf(a, "%s/bcache/dev", s->dir), target, sizeof target - 1);
        if (n <= 0) return;
        target[n] = '\0';
        const char *slash = strrchr(target, '/');
        const char *name = slash != NULL ? slash + 1 : target;
        if (strncmp(name, "bcache", 6) == 0 && access(arena_printf(a, "/dev/%s", name), F_OK) == 0)
                s->name = arena_strdup(a, name);
}

static bool attached(const struct seen *s)
{
        return strcmp(s->state, "clean") == 0 || strcmp(s->state, "dirty") == 0;
}

static bool in_use(const char *name, struct arena *a)
{
        return device_is_claimed(arena_printf(a, "/dev/%s", name));
}

static void pause_ms(long ms)
{
        struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
        (void)nanosleep(&t, NULL);
}

/* ---- probe ---- */

static int bcache_probe(const struct layer_vol *v, struct arena *a, struct layer_dev *d, struct trouble *t)
{
        struct seen s;
        bool data_ours, ours;
        enum super data = read_data(v, &data_ours), cache = read_cache(v, &ours);
        look(v->below_path, a, &s);
        d->cache_path = cache_path(v);
        d->looked = data != SUPER_UNKNOWN && cache != SUPER_UNKNOWN;
        d->foreign = (cache == SUPER_THERE && !ours) || (data == SUPER_THERE && !data_ours);
        if (d->foreign) d->found = "a device that belongs to another bcache";
        d->exists = !d->foreign && data == SUPER_THERE && ours;
        d->raw = !d->foreign && !d->exists && (data == SUPER_THERE || ours);
        d->open = !d->foreign && (s.registered || bcache_has(cache_path(v)));
        if (!d->open) return 0;
        d->lags = s.name == NULL || !attached(&s);
        if (strcmp(s.state, "inconsistent") == 0)
                d->broken = "the data device ran without its cache, which had newer data";
        if (s.name == NULL) return 0;
        d->device_path = arena_printf(a, "/dev/%s", s.name);
        d->size_kib = layer_sectors(d->device_path) / 2;
        if (layer_net_kib(layer_type_BCACHE, layer_sectors(v->below_path) / 2, 0) > d->size_kib)
                d->lags = true;
        d->in_use = in_use(s.name, a);
        return 0;
}

/* ---- up ---- */

static int make_super(const struct layer_vol *v, bool cache, struct trouble *t)
{
        struct arena a = { 0 };
        const char *argv[16] = { "make-bcache" };
        unsigned n = 1;
        uint64_t bucket = 0, block = 0, offset = BCACHE_OFFSET_KIB * 2;
        int err = layer_prop_number(v, "BCache/Bucketsize", 0, 1 << 30, &bucket, t);
        if (err == 0) err = layer_prop_number(v, "BCache/Blocksize", 0, 1 << 20, &block, t);
        if (err == 0) err = layer_prop_number(v, "BCache/DataOffset", offset, offset, &offset, t);
        argv[n++] = cache ? "-C" : "-B";
        argv[n++] = "--cset-uuid"; /* of the data device, too: else it would get a random one */
        argv[n++] = v->dev->vlm_uuid;
        if (cache) {
                if (strcasecmp(layer_prop(v, "BCache/Discard"), "true") == 0) argv[n++] = "--discard";
                const char *policy = layer_prop(v, "BCache/CacheReplacementPolicy");
                if (policy[0] != '\0') argv[n++] = arena_printf(&a, "--cache_replacement_policy=%s", policy);
                if (bucket != 0) {
                        argv[n++] = "-b";
                        argv[n++] = arena_printf(&a, "%llu", (unsigned long long)bucket);
                }
        } else {
                argv[n++] = "-o";
                argv[n++] = arena_printf(&a, "%llu", (unsigned long long)offset);
                if (strcasecmp(layer_prop(v, "BCache/Writeback"), "true") == 0) argv[n++] = "--writeback";
        }
        if (block != 0) {
                argv[n++] = "-w";
                argv[n++] = arena_printf(&a, "%llu", (unsigned long long)block);
        }
        argv[n++] = cache ? cache_path(v) : v->below_path;
        argv[n] = NULL;
        struct exec_cmd c = { .argv = argv };
        if (err == 0) err = exec_run(&c, &a, NULL, t);
        arena_done(&a);
        return err;
}

static int refuse(const struct layer_vol *v, const char *path, const char *found, struct trouble *t)
{
        layer_fail(v, E_EXISTS, TROUBLE_EXISTS, t, "something else is on its device or its cache's");
        trouble_cause(t, "%s holds: %s.", path, found);
        trouble_fix(
                t, "Nothing was done to it. If that is not needed, delete the resource and create it again.");
        return E_EXISTS;
}

static int is_missing(const struct layer_vol *v, const char *path, struct trouble *t)
{
        layer_fail(v, E_NOT_FOUND, TROUBLE_POOL, t, "its bcache superblock is missing; it is not made again");
        trouble_cause(t, "%s had one.", path);
        trouble_fix(t, "If the data can be had elsewhere, delete the resource from this node.");
        return E_NOT_FOUND;
}

static int make_one(const struct layer_vol *v, bool cache, struct trouble *t)
{
        const char *path = cache ? cache_path(v) : v->below_path;
        if (v->made) return is_missing(v, path, t);
        const char *found = signature_of(path);
        return found != NULL ? refuse(v, path, found, t) : make_super(v, cache, t);
}

static int bcache_make(const struct layer_vol *v, struct trouble *t)
{
        bool data_ours, ours;
        enum super data = read_data(v, &data_ours), cache = read_cache(v, &ours);
        if (data == SUPER_UNKNOWN || cache == SUPER_UNKNOWN || v->dev->vlm_uuid == NULL)
                return layer_fail(
                        v, E_NOT_FOUND, TROUBLE_POOL, t, "its device or its cache's cannot be read");
        if (cache == SUPER_THERE && !ours) return refuse(v, cache_path(v), "the cache of another bcache", t);
        if (data == SUPER_THERE && !data_ours) return refuse(v, v->below_path, "data of another bcache", t);
        int err = data == SUPER_NONE ? make_one(v, false, t) : 0;
        inject_point(INJECT_BCACHE_BEGUN);
        if (err == 0 && cache == SUPER_NONE) err = make_one(v, true, t);
        inject_point(INJECT_BCACHE_MADE);
        return err;
}

/* Tells the kernel of a device; udev may have been faster, and what was stopped just now may still hold it. */
static int enlist(const struct layer_vol *v, const char *path, struct trouble *t)
{
        int err = 0;
        bool known = bcache_has(path);
        for (unsigned ms = 0; ms < LIST_MS && !known; ms += POLL_MS) {
                err = bcache_put("/sys/fs/bcache/register", path);
                known = bcache_has(path);
                if (!known) pause_ms(POLL_MS);
        }
        if (known) return 0;
        layer_fail(v, E_INVALID, TROUBLE_POOL, t, "the kernel does not take a device of its bcache");
        trouble_cause(t, "%s cannot be registered: %s.", path, strerror(err != 0 ? err : EIO));
        return E_INVALID;
}

static int need_module(struct trouble *t)
{
        return access("/sys/fs/bcache/register", F_OK) == 0 ? 0 : modprobe("bcache", t);
}

/* Waits until the device is there, attached. */
static int wait_up(const struct layer_vol *v, struct trouble *t)
{
        struct arena a = { 0 };
        struct seen s;
        bool up = false, asked = false;
        for (unsigned ms = 0; ms < WAIT_MS && !up; ms += POLL_MS) {
                look(v->below_path, &a, &s);
                up = s.name != NULL && attached(&s);
                if (!up && strcmp(s.state, "no cache") == 0)
                        asked = bcache_put(arena_printf(&a, "%s/bcache/attach", s.dir), v->dev->vlm_uuid) ==
                                0;
                if (!up) pause_ms(POLL_MS);
        }
        arena_done(&a);
        if (up) return 0;
        layer_fail(v, E_TIMEOUT, TROUBLE_POOL, t, "its bcache device does not come up");
        trouble_cause(t, "%s is registered%s, but the kernel does not run it with its cache %s.",
                v->below_path, asked ? " and attached" : "", cache_path(v) != NULL ? cache_path(v) : "");
        return E_TIMEOUT;
}

static int bcache_open(const struct layer_vol *v, struct trouble *t)
{
        bool ours;
        if (cache_path(v) == NULL) {
                layer_fail(v, E_NOT_FOUND, TROUBLE_POOL, t, "the device of its cache is down");
                trouble_cause(t, "What its storage pool reports says why.");
                return E_NOT_FOUND;
        }
        if (read_cache(v, &ours) != SUPER_THERE || !ours)
                return layer_fail(
                        v, E_NOT_FOUND, TROUBLE_POOL, t, "its cache has no superblock of this volume");
        int err = need_module(t);
        if (err == 0) err = enlist(v, cache_path(v), t);
        inject_point(INJECT_BCACHE_LISTED);
        if (err == 0) err = enlist(v, v->below_path, t);
        if (err == 0) err = wait_up(v, t);
        inject_point(INJECT_BCACHE_OPENED);
        return err;
}

/* ---- down ---- */

static int wait_for_state(const char *dir, const char *state, unsigned limit_ms, struct arena *a)
{
        for (unsigned ms = 0; ms < limit_ms; ms += POLL_MS) {
                const char *now = get(arena_printf(a, "%s/bcache/state", dir), a);
                if (strcmp(now, state) == 0) return 0;
                pause_ms(POLL_MS);
        }
        return E_TIMEOUT;
}

static int wait_gone(const char *path, struct arena *a)
{
        for (unsigned ms = 0; ms < WAIT_MS; ms += POLL_MS) {
                if (access(path, F_OK) != 0) return 0;
                pause_ms(POLL_MS);
        }
        return E_TIMEOUT;
}

static int not_let_go(const struct layer_vol *v, const char *what, struct trouble *t)
{
        layer_fail(v, E_TIMEOUT, TROUBLE_POOL, t, "the kernel does not let go of its bcache");
        trouble_cause(t, "It still has %s.", what);
        return E_TIMEOUT;
}

static int detach(const struct layer_vol *v, const struct seen *s, struct arena *a, struct trouble *t)
{
        (void)bcache_put(arena_printf(a, "%s/bcache/detach", s->dir), "1");
        int err = wait_for_state(s->dir, "no cache", FLUSH_MS, a);
        inject_point(INJECT_BCACHE_DETACHED);
        return err == 0 ? 0 : layer_fail(v, err, TROUBLE_POOL, t, "its cache was not written back in time");
}

/* The cache; what is attached to it goes, too. */
static int stop_cache(const struct layer_vol *v, struct arena *a, struct trouble *t)
{
        if (v->dev->vlm_uuid == NULL) return 0;
        const char *set = arena_printf(a, "/sys/fs/bcache/%s", v->dev->vlm_uuid);
        (void)bcache_put(arena_printf(a, "%s/stop", set), "1");
        int err = wait_gone(set, a);
        if (err == 0 && cache_path(v) != NULL && bcache_let_go(cache_path(v), WAIT_MS) == EBUSY)
                err = E_TIMEOUT;
        inject_point(INJECT_BCACHE_STOPPED);
        return err == 0 ? 0 : not_let_go(v, cache_path(v) != NULL ? cache_path(v) : "its cache", t);
}

/* keep: what is only in the cache is written back first. */
static int take_down(const struct layer_vol *v, bool keep, struct trouble *t)
{
        struct arena a = { 0 };
        struct seen s;
        int err = 0;
        look(v->below_path, &a, &s);
        if (s.name != NULL && in_use(s.name, &a)) {
                layer_fail(v, E_BUSY, TROUBLE_IN_USE, t, "its bcache device is in use");
                trouble_fix(t, "End its use; the satellite tries again by itself.");
                arena_done(&a);
                return E_BUSY;
        }
        if (keep && attached(&s)) err = detach(v, &s, &a, t);
        if (err == 0) err = stop_cache(v, &a, t);
        /* Its directory goes before the kernel closes the device. */
        if (err == 0 && bcache_let_go(v->below_path, WAIT_MS) == EBUSY) err = not_let_go(v, v->below_path, t);
        inject_point(INJECT_BCACHE_CLOSED);
        arena_done(&a);
        return err;
}

static int bcache_close(const struct layer_vol *v, struct trouble *t)
{
        return take_down(v, v->props != NULL, t);
}

/* Attaches the cache when that is all; else the device goes down and comes up again with its new size. */
static int bcache_grow(const struct layer_vol *v, struct trouble *t)
{
        struct arena a = { 0 };
        struct seen s;
        look(v->below_path, &a, &s);
        uint64_t kib = s.name != NULL ? layer_sectors(arena_printf(&a, "/dev/%s", s.name)) / 2 : 0;
        bool small = layer_net_kib(layer_type_BCACHE, layer_sectors(v->below_path) / 2, 0) > kib;
        int err = small ? take_down(v, true, t) : 0;
        if (err == E_BUSY) {
                trouble_cause(t, "The kernel cannot give another size to a bcache device that is open.");
                trouble_fix(t, "Close it (unmount it); the satellite then goes on by itself.");
        }
        if (err == 0) err = bcache_open(v, t);
        arena_done(&a);
        return err;
}

static const char *bcache_missing(struct arena *a)
{
        if (!exec_exists("make-bcache"))
                return "the program make-bcache is not installed: install the package bcache-tools";
        return module_missing("bcache", a);
}

const struct layer layer_bcache = {
        .type = layer_type_BCACHE,
        .missing = bcache_missing,
        .probe = bcache_probe,
        .make = bcache_make,
        .open = bcache_open,
        .grow = bcache_grow,
        .close = bcache_close,
};
