/* WRITECACHE: dm-writecache. Writes go to a fast device (persistent memory or an SSD) first, and to the data device later.
 *
 * Until it is flushed, the data device alone is old data; so a volume that is kept is flushed before its device goes down. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "satellite/layer/layer_dm.h"
#include "wire/base/buf.h"

#define BLOCK_BYTES 4096
#define FLUSH_MS 600000u
#define WORDS_MAX 32u

static bool is_home(const unsigned char b[4096])
{
        return b[0] == 0x21 && b[1] == 0x93 && b[2] == 0x48 && b[3] == 0x23; /* the magic, little endian */
}

static const char *broken(const struct dm_dev *d, struct arena *a)
{
        const char *word = dm_word(d->status, 0, a);
        if (word[0] == '\0' || strcmp(word, "0") == 0) return NULL;
        return arena_printf(
                a, "the cache device or the data device failed (dm-writecache says error %.20s)", word);
}

static bool differs(const struct dm_dev *d, struct arena *a) { return strcmp(d->target, "writecache") != 0; }

/* Persistent memory is driven in another way than disks. */
static bool is_pmem(const char *path, struct arena *a)
{
        struct stat st;
        if (stat(path, &st) != 0 || !S_ISBLK(st.st_mode)) return false;
        FILE *f =
                fopen(arena_printf(a, "/sys/dev/block/%u:%u/queue/dax", major(st.st_rdev), minor(st.st_rdev)),
                        "re");
        bool yes = f != NULL && fgetc(f) == '1';
        if (f != NULL) fclose(f);
        return yes;
}

/* Words of the table behind their number. */
struct words {
        struct buf text;
        uint32_t n;
};

static int put_number(const struct layer_vol *v, const char *key, const char *word, uint64_t max,
        struct words *w, struct trouble *t)
{
        uint64_t n;
        if (layer_prop(v, key)[0] == '\0') return 0;
        int err = layer_prop_number(v, key, 0, max, &n, t);
        if (err != 0) return err;
        buf_printf(&w->text, " %s %llu", word, (unsigned long long)n);
        w->n += 2;
        return 0;
}

static int put_more(const struct layer_vol *v, struct words *w, struct trouble *t)
{
        static const char key[] = "Writecache/Options/Additional";
        const char *p = layer_prop(v, key);
        for (p += strspn(p, " "); *p != '\0'; p += strspn(p, " ")) {
                size_t n = strcspn(p, " ");
                for (size_t i = 0; i < n; i++)
                        if (!isalnum((unsigned char)p[i]) && p[i] != '_')
                                return layer_prop_bad(
                                        v, key, "options are words of letters, digits and _", t);
                if (w->n >= WORDS_MAX) return layer_prop_bad(v, key, "these are too many options", t);
                buf_printf(&w->text, " %.*s", (int)n, p);
                w->n++;
                p += n;
        }
        return 0;
}

static int put_options(const struct layer_vol *v, struct words *w, struct trouble *t)
{
        static const struct {
                const char *key, *word;
                uint64_t max;
        } numbers[] = {
                { "Writecache/Options/StartSector", "start_sector", UINT64_C(1) << 40 },
                { "Writecache/Options/HighWatermark", "high_watermark", 100 },
                { "Writecache/Options/LowWatermark", "low_watermark", 100 },
                { "Writecache/Options/WritebackJobs", "writeback_jobs", 1 << 30 },
                { "Writecache/Options/AutocommitBlocks", "autocommit_blocks", 1 << 30 },
                { "Writecache/Options/AutocommitTime", "autocommit_time", 3600000 },
        };
        int err = 0;
        for (size_t i = 0; err == 0 && i < ARRAY_LEN(numbers); i++)
                err = put_number(v, numbers[i].key, numbers[i].word, numbers[i].max, w, t);
        if (err != 0) return err;
        const char *fua = layer_prop(v, "Writecache/Options/Fua");
        if (fua[0] != '\0') {
                buf_printf(&w->text, " %s", strcasecmp(fua, "off") == 0 ? "nofua" : "fua");
                w->n++;
        }
        return put_more(v, w, t);
}

static int table(
        const struct layer_vol *v, uint64_t sectors, struct arena *a, const char **ret, struct trouble *t)
{
        const char *cache = layer_extra_path(v, EXTRA_WRITECACHE);
        struct words w = { 0 };
        int err = put_options(v, &w, t);
        if (err == 0)
                *ret = arena_printf(a, "0 %llu writecache %c %s %s %d %u%s\n", (unsigned long long)sectors,
                        is_pmem(cache, a) ? 'p' : 's', v->below_path, cache, BLOCK_BYTES, w.n,
                        buf_cstr(&w.text));
        buf_done(&w.text);
        return err;
}

static int flush(const struct layer_vol *v, const char *name, const struct dm_dev *d, struct arena *a,
        struct trouble *t)
{
        struct dm_dev after;
        int err = dm_message(name, "flush", FLUSH_MS, t);
        if (err == 0) err = dm_look(name, a, &after, t);
        if (err != 0 || broken(&after, a) == NULL) return err;
        layer_fail(v, E_INVALID, TROUBLE_POOL, t, "its cache cannot be written back");
        trouble_cause(t, "/dev/mapper/%s: %s. It stays open.", name, broken(&after, a));
        return E_INVALID;
}

static const struct dm_kind kind = { .type = layer_type_WRITECACHE,
        .prefix = "linstor_writecache_",
        .target = "writecache",
        .cache = EXTRA_WRITECACHE,
        .home = EXTRA_WRITECACHE,
        .is_home = is_home,
        .broken = broken,
        .differs = differs,
        .table = table,
        .flush = flush };

static int wc_probe(const struct layer_vol *v, struct arena *a, struct layer_dev *d, struct trouble *t)
{
        return layer_dm_probe(&kind, v, a, d, t);
}
static int wc_make(const struct layer_vol *v, struct trouble *t) { return layer_dm_make(&kind, v, t); }
static int wc_open(const struct layer_vol *v, struct trouble *t) { return layer_dm_open(&kind, v, t); }
static int wc_grow(const struct layer_vol *v, struct trouble *t) { return layer_dm_grow(&kind, v, t); }
static int wc_close(const struct layer_vol *v, struct trouble *t) { return layer_dm_close(&kind, v, t); }
static const char *wc_missing(struct arena *a) { return dm_missing("dm-writecache", a); }

const struct layer layer_writecache = {
        .type = layer_type_WRITECACHE,
        .missing = wc_missing,
        .probe = wc_probe,
        .make = wc_make,
        .open = wc_open,
        .grow = wc_grow,
        .close = wc_close,
};
