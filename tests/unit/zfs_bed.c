#include "tests/lib/test.h"

#include "tests/unit/zfs_bed.h"

#include <sys/stat.h>
#include <unistd.h>

#include "satellite/provider/zfs_cmd.h"
#include "satellite/provider/zvol.h"

static char dir[] = "/tmp/outrigger-zfs-XXXXXX";
static struct arena said;

static void path_in(char out[ZVOL_PATH_SIZE], const char *folder, const char *name)
{
        int n = snprintf(out, ZVOL_PATH_SIZE, "%s/%s/", dir, folder);
        snprintf(out + n, (size_t)(ZVOL_PATH_SIZE - n), "%s", name);
        for (char *p = out + n; *p != '\0'; p++)
                if (*p == '/') *p = '%';
}

static int fake_find(const char *name, struct zvol *ret)
{
        char path[ZVOL_PATH_SIZE], open_path[ZVOL_PATH_SIZE];
        struct stat st;
        path_in(path, "dev", name);
        path_in(open_path, "open", name);
        if (stat(path, &st) != 0) return E_NOT_FOUND;
        *ret = (struct zvol){ .linked = true, .in_use = access(open_path, F_OK) == 0 };
        snprintf(ret->path, sizeof ret->path, "%s", path);
        snprintf(ret->node, sizeof ret->node, "/dev/zd0");
        ret->size_kib = (uint64_t)st.st_size / 1024;
        return 0;
}

static int fake_link(const char *name, const char *node)
{
        (void)name;
        (void)node;
        return 0;
}

static const struct zvol_world world = { .find = fake_find, .link = fake_link };

static void add_program(const char *name)
{
        char path[64];
        size_t n;
        char *text = test_file("tests/lib/fake_zfs", &n);
        assert_non_null(text);
        snprintf(path, sizeof path, "%s/%s", dir, name);
        FILE *f = fopen(path, "we");
        assert_non_null(f);
        assert_int_equal(fwrite(text, 1, n, f), n);
        assert_int_equal(fclose(f), 0);
        assert_int_equal(chmod(path, 0700), 0);
        free(text);
}

void zfs_bed_init(void)
{
        char path[64];
        memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
        assert_non_null(mkdtemp(dir));
        add_program("zfs");
        add_program("zpool");
        snprintf(path, sizeof path, "%s/open", dir);
        assert_int_equal(mkdir(path, 0700), 0);
        exec_set_path(dir);
        zvol_set_world(&world);
        FAKE("_make", "tank", "67108864");
        FAKE("create", BED_PLACE);
}

void zfs_bed_done(void)
{
        struct arena a = { 0 };
        const char *const argv[] = { "/bin/rm", "-rf", dir, NULL };
        struct exec_cmd c = { .argv = argv };
        assert_int_equal(exec_run(&c, &a, NULL, NULL), 0);
        arena_done(&a);
        arena_done(&said);
        exec_set_path(NULL);
        zvol_set_world(NULL);
}

const char *zfs_bed_run(const char *const *words)
{
        struct exec_cmd c = { .argv = words };
        struct exec_result r;
        struct trouble t;
        arena_reset(&said);
        if (exec_run(&c, &said, &r, &t) != 0) fail_msg("zfs %s: %s %s", words[1], t.message, t.cause);
        return r.out;
}

void zfs_bed_fault(const char *verb, const char *kind, unsigned count)
{
        char path[64];
        snprintf(path, sizeof path, "%s/fault", dir);
        FILE *f = fopen(path, "we");
        assert_non_null(f);
        fprintf(f, "%s %s %u", verb, kind, count);
        assert_int_equal(fclose(f), 0);
}

void zfs_bed_open(const char *name, bool open)
{
        char path[ZVOL_PATH_SIZE];
        path_in(path, "open", name);
        if (!open) {
                assert_int_equal(unlink(path), 0);
                return;
        }
        FILE *f = fopen(path, "we");
        assert_non_null(f);
        fclose(f);
}

char *zfs_bed_log(void)
{
        char path[64];
        snprintf(path, sizeof path, "%s/log", dir);
        FILE *f = fopen(path, "re");
        assert_non_null(f);
        char *text = NULL;
        size_t cap = 0;
        assert_true(getdelim(&text, &cap, '\0', f) > 0);
        fclose(f);
        return text;
}
