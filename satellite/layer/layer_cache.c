/* CACHE: dm-cache. Blocks that are used often are kept on a fast device; its metadata is on a third one.
 *
 * In mode writeback a block may be newer in the cache than on the data device. So a volume that is kept gets the policy "cleaner"
 * before its device goes down, which writes such blocks back, and goes down when there are none. A device that was left with that
 * policy gets its own again when it is wanted up. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "satellite/layer/layer_dm.h"
#include "wire/codec/codec.h"

#define BLOCK_GRANULE 64u /* sectors: 32 KiB, the kernel's */
#define BLOCK_MAX (UINT64_C(1) << 21)
#define MAGIC 06142003u /* at byte 32 of the superblock, little endian */
#define POLL_MS 500
#define STATUS_DIRTY 10u /* places of words in the status */

static bool is_home(const unsigned char b[4096])
{
        uint32_t magic =
                (uint32_t)b[32] | (uint32_t)b[33] << 8 | (uint32_t)b[34] << 16 | (uint32_t)b[35] << 24;
        return magic == MAGIC;
}

static const char *broken(const struct dm_dev *d, struct arena *a)
{
        const char *first = dm_word(d->status, 0, a);
        if (strcasecmp(first, "Fail") == 0 || strcasecmp(first, "Error") == 0)
                return "the device with the cache's metadata failed (dm-cache says Fail)";
        if (strstr(d->status, " needs_check") != NULL)
                return "the cache's metadata has met errors (dm-cache says needs_check)";
        const char *last = strrchr(d->status, ' ');
        if (strstr(d->status, " ro ") != NULL || (last != NULL && strcmp(last, " ro") == 0))
                return "the cache's metadata cannot be written (dm-cache says ro)";
        return NULL;
}

/* Behind "META CACHE DATA BLOCK N feature...": the policy. */
static const char *policy_of(const struct dm_dev *d, struct arena *a)
{
        unsigned long features = strtoul(dm_word(d->args, 4, a), NULL, 10);
        return features < 16 ? dm_word(d->args, 5 + (unsigned)features, a) : "";
}

static bool differs(const struct dm_dev *d, struct arena *a)
{
        return strcmp(d->target, "cache") != 0 || strcmp(policy_of(d, a), "cleaner") == 0;
}

static const char *one_of(const char *value, const char *const *list, size_t n, const char *fallback)
{
        for (size_t i = 0; i < n; i++)
                if (strcasecmp(value, list[i]) == 0) return list[i];
        return value[0] == '\0' ? fallback : NULL;
}

static int make_table(const struct layer_vol *v, uint64_t sectors, const char *policy, struct arena *a,
        const char **ret, struct trouble *t)
{
        static const char *const modes[] = { "writeback", "writethrough", "passthrough" };
        uint64_t block;
        int err = layer_prop_number(v, "Cache/Blocksize", CACHE_BLOCK_SECTORS, BLOCK_MAX, &block, t);
        if (err != 0) return err;
        if (block < BLOCK_GRANULE || block % BLOCK_GRANULE != 0)
                return layer_prop_bad(v, "Cache/Blocksize", "blocks are multiples of 64 sectors", t);
        const char *mode = one_of(layer_prop(v, "Cache/OpMode"), modes, ARRAY_LEN(modes), "writethrough");
        if (mode == NULL) return layer_prop_bad(v, "Cache/OpMode", "there is no such mode", t);
        *ret = arena_printf(a, "0 %llu cache %s %s %s %llu 1 %s %s 0\n", (unsigned long long)sectors,
                layer_extra_path(v, EXTRA_CACHE_META), layer_extra_path(v, EXTRA_CACHE_DATA), v->below_path,
                (unsigned long long)block, mode, policy);
        return 0;
}

static int table(
        const struct layer_vol *v, uint64_t sectors, struct arena *a, const char **ret, struct trouble *t)
{
        static const char *const policies[] = { "smq", "mq", "cleaner" };
        const char *policy = one_of(layer_prop(v, "Cache/Policy"), policies, ARRAY_LEN(policies), "smq");
        if (policy == NULL) return layer_prop_bad(v, "Cache/Policy", "there is no such policy", t);
        return make_table(v, sectors, policy, a, ret, t);
}

static uint64_t dirty(const struct dm_dev *d, struct arena *a)
{
        const char *word = dm_word(d->status, STATUS_DIRTY, a);
        return word[0] == '\0' ? UINT64_MAX : strtoull(word, NULL, 10);
}

static int flush(const struct layer_vol *v, const char *name, const struct dm_dev *d, struct arena *a,
        struct trouble *t)
{
        static const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
        struct dm_dev now = *d;
        const char *line;
        uint64_t left_ms;
        int err = layer_prop_number(v, "Cache/FlushTimeout", 180000, 24 * 3600000ULL, &left_ms, t);
        if (err != 0) return err;
        if (dirty(d, a) == 0) return 0; /* nobody has it open: it stays so */
        if (strcmp(policy_of(d, a), "cleaner") != 0) {
                err = make_table(v, d->sectors, "cleaner", a, &line, t);
                if (err == 0) err = dm_change(name, line, t);
                if (err == 0) err = dm_look(name, a, &now, t);
        }
        for (; err == 0 && dirty(&now, a) != 0 && broken(&now, a) == NULL && left_ms > 0;
                left_ms -= MIN(left_ms, (uint64_t)POLL_MS)) {
                (void)nanosleep(&pause, NULL);
                err = dm_look(name, a, &now, t);
        }
        if (err != 0 || dirty(&now, a) == 0) return err;
        layer_fail(v, E_TIMEOUT, TROUBLE_POOL, t, "its cache was not written back in time");
        const char *why = broken(&now, a);
        trouble_cause(t, "/dev/mapper/%s has %llu blocks that the data device lacks%s%s.", name,
                (unsigned long long)dirty(&now, a), why != NULL ? "; " : "", why != NULL ? why : "");
        trouble_fix(t,
                "It stays open, and the satellite tries again by itself. Cache/FlushTimeout (milliseconds) "
                "says how long one attempt takes.");
        return E_TIMEOUT;
}

static const struct dm_kind kind = { .type = layer_type_CACHE,
        .prefix = "linstor_cache_",
        .target = "cache",
        .cache = EXTRA_CACHE_DATA,
        .home = EXTRA_CACHE_META,
        .is_home = is_home,
        .broken = broken,
        .differs = differs,
        .table = table,
        .flush = flush };

static int c_probe(const struct layer_vol *v, struct arena *a, struct layer_dev *d, struct trouble *t)
{
        return layer_dm_probe(&kind, v, a, d, t);
}
static int c_make(const struct layer_vol *v, struct trouble *t) { return layer_dm_make(&kind, v, t); }
static int c_open(const struct layer_vol *v, struct trouble *t) { return layer_dm_open(&kind, v, t); }
static int c_grow(const struct layer_vol *v, struct trouble *t) { return layer_dm_grow(&kind, v, t); }
static int c_close(const struct layer_vol *v, struct trouble *t) { return layer_dm_close(&kind, v, t); }
static const char *c_missing(struct arena *a) { return dm_missing("dm-cache", a); }

const struct layer layer_cache = {
        .type = layer_type_CACHE,
        .missing = c_missing,
        .probe = c_probe,
        .make = c_make,
        .open = c_open,
        .grow = c_grow,
        .close = c_close,
};
