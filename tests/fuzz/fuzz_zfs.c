/* The output of zfs and zpool, marks and options: whatever comes, rows are within bounds, a mark that is read can be written again, and
 * options yield words that set a property or the block size, and nothing else. */
#include <string.h>

#include "satellite/provider/zfs_options.h"
#include "satellite/provider/zfs_report.h"
#include "tests/fuzz/fuzz.h"

static void check_mark(const char *mark, struct arena *a)
{
        struct dev d = { 0 }, again = { 0 };
        char text[ZFS_MARK_SIZE];
        if (!zfs_read_mark(mark, a, &d) || zfs_write_mark(&d, text) != 0) return;
        FUZZ_CHECK(zfs_read_mark(text, a, &again));
        FUZZ_CHECK(strcmp(d.uuid, again.uuid) == 0 && d.volume_number == again.volume_number);
        FUZZ_CHECK(strcmp(d.rsc_name, again.rsc_name) == 0);
        FUZZ_CHECK((d.snap_name == NULL) == (again.snap_name == NULL));
}

static void check_rows(const char *text, struct arena *a)
{
        struct zfs_row *r;
        uint32_t n;
        const char *line = NULL;
        if (zfs_parse_list(text, a, &r, &n, &line) != 0) return;
        for (uint32_t i = 0; i < n; i++) {
                FUZZ_CHECK(r[i].name[0] != '\0' && r[i].volsize_bytes / 1024 <= SIZE_KIB_MAX);
                FUZZ_CHECK((zfs_snapshot_of(&r[i]) != NULL) == (r[i].type == ZFS_SNAPSHOT));
                const char *child = zfs_child_of(&r[i], "tank");
                FUZZ_CHECK(child == NULL || (child[0] != '\0' && strchr(child, '/') == NULL));
                check_mark(r[i].mark, a);
        }
}

static void check_options(const char *text, bool create, struct arena *a)
{
        struct zfs_options o;
        struct fail f = { 0 };
        if (zfs_options_parse(text, create, a, &o, &f) != 0) return;
        FUZZ_CHECK(o.n % 2 == 0 && o.block_bytes <= ZFS_BLOCK_MAX);
        for (unsigned i = 0; i < o.n; i += 2) {
                FUZZ_CHECK(strcmp(o.words[i], "-o") == 0 || (create && strcmp(o.words[i], "-b") == 0));
                FUZZ_CHECK(o.words[i + 1][0] != '-' && strpbrk(o.words[i + 1], " \t\n") == NULL);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct arena a = { .limit_bytes = 16 << 20 };
        struct zpool_row *p;
        struct zfs_space *s;
        uint32_t n;
        const char *line = NULL;
        if (size > 65536) return 0;
        char *text = arena_alloc(&a, size + 1);
        if (size > 0) memcpy(text, data, size);
        if (zpool_parse_list(text, &a, &p, &n, &line) == 0)
                for (uint32_t i = 0; i < n; i++) FUZZ_CHECK(p[i].name[0] != '\0' && p[i].health[0] != '\0');
        if (zfs_parse_space(text, &a, &s, &n, &line) == 0)
                for (uint32_t i = 0; i < n; i++) FUZZ_CHECK(s[i].name[0] != '\0');
        check_rows(text, &a);
        check_mark(text, &a);
        check_options(text, true, &a);
        check_options(text, false, &a);
        if (zfs_place_valid(text)) FUZZ_CHECK(strpbrk(text, " \t\n@#%") == NULL);
        arena_done(&a);
        return 0;
}
