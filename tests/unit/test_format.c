/* File systems by properties: the commands, what is refused, and what is never formatted. */
#include <fcntl.h>
#include <unistd.h>

#include "satellite/base/exec.h"
#include "satellite/base/wipe.h"
#include "satellite/layer/format.h"
#include "tests/lib/test.h"
#include "wire/codec/codec.h"

static struct strmap props_of(struct arena *a, const char *text)
{
        struct strmap m = { 0 };
        char *rest = arena_strdup(a, text), *word;
        while ((word = strsep(&rest, ";")) != NULL) {
                char *value = strchr(word, '=');
                assert_non_null(value);
                *value++ = '\0';
                strmap_set(&m, arena_printf(a, "FileSystem/%s", word), value, a);
        }
        return m;
}

static void test_commands(void **state)
{
        static const struct {
                const char *props, *want, *proto; /* want NULL: refused, with this in the trouble */
        } cases[] = { { "Type=ext4", "mkfs.ext4 -q -F -E nodiscard /dev/x", NULL },
                { "Type=EXT4;MkfsParams=-m 0  -L data", "mkfs.ext4 -q -F -E nodiscard -m 0 -L data /dev/x",
                        NULL },
                { "Type=ext4;User=12;Group=34", "mkfs.ext4 -q -F -E nodiscard,root_owner=12:34 /dev/x",
                        NULL },
                { "Type=ext4;User=root", "mkfs.ext4 -q -F -E nodiscard,root_owner=0:0 /dev/x", NULL },
                { "Type=xfs;MkfsParams=-b size=4096", "mkfs.xfs -q -f -K -b size=4096 /dev/x", NULL },
                { "Type=xfs;Group=7", "mkfs.xfs -q -f -K -p PROTO /dev/x", "/\n0 0\nd--755 0 7\n$\n" },
                { "Type=btrfs", NULL, "FileSystem/Type" },
                { "Type=ext4;User=nosuchuser", NULL, "no such user" },
                { "Type=ext4;Group=nosuchgroup", NULL, "no such group" },
                { "Type=ext4;User=-1", NULL, "no such user" },
                { "Type=ext4;MkfsParams=-F /dev/sda", NULL, "names a file" },
                { "Type=xfs;MkfsParams=-d name=sda", NULL, "names a file" },
                { "Type=xfs;MkfsParams=-l logdev=sda", NULL, "names a file" } };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct arena a = { 0 };
                struct trouble t = { 0 };
                struct strmap props = props_of(&a, cases[i].props);
                const char *const *words, *proto;
                char line[512] = "";
                assert_true(format_wanted(&props));
                int err = format_command("/dev/x", &props, &a, &words, &proto, &t);
                if (cases[i].want == NULL) {
                        char text[1024];
                        assert_int_equal(err, E_INVALID);
                        (void)snprintf(text, sizeof text, "%s %s %s", t.message, t.cause, t.correction);
                        assert_contains(text, cases[i].proto);
                } else {
                        assert_ok(err);
                        for (unsigned k = 0; words[k] != NULL; k++)
                                (void)snprintf(line + strlen(line), sizeof line - strlen(line), "%s%s",
                                        k ? " " : "", words[k]);
                        assert_string_equal(line, cases[i].want);
                        if (cases[i].proto != NULL) assert_string_equal(proto, cases[i].proto);
                        else assert_null(proto);
                }
                arena_done(&a);
        }
        assert_false(format_wanted(&(struct strmap){ 0 }));
        assert_false(format_wanted(NULL));
}

/* Beginning or end that are not zeros, or a signature: left alone, and that is no error. */
static void test_not_over_anything(void **state)
{
        static const struct {
                off_t at;
                const char *data;
        } cases[] = { { 0, "x" }, { WIPE_HEAD_BYTES - 1, "x" }, { (8 << 20) - 1, "x" }, { 0, "XFSB" } };
        struct arena a = { 0 };
        struct strmap props = props_of(&a, "Type=ext4");
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                char path[] = "/tmp/test_format-XXXXXX", after[5] = "";
                struct trouble t = { 0 };
                int fd = mkstemp(path);
                assert_true(fd >= 0);
                assert_int_equal(ftruncate(fd, 8 << 20), 0);
                assert_true(pwrite(fd, cases[i].data, strlen(cases[i].data), cases[i].at) > 0);
                assert_ok(format_device(path, &props, FORMAT_WIPED_ENDS, &t));
                assert_true(pread(fd, after, strlen(cases[i].data), cases[i].at) > 0);
                assert_string_equal(after, cases[i].data);
                assert_true(pread(fd, after, 2, 1080) == 2);
                assert_true(after[0] == 0 && after[1] == 0); /* no magic number of ext4 */
                (void)close(fd);
                (void)unlink(path);
        }
        arena_done(&a);
}

/* Below DRBD the volume ends with its metadata: what is left of older volumes before that is not data. */
static void test_older_volume(void **state)
{
        if (!exec_exists("mkfs.ext4")) skip();
        struct arena a = { 0 };
        struct strmap props = props_of(&a, "Type=ext4");
        static const off_t at[] = { WIPE_HEAD_BYTES - 1, WIPE_HEAD_BYTES, (8 << 20) - 1 };
        for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
                char path[] = "/tmp/test_format-XXXXXX";
                unsigned char magic[2];
                struct trouble t = { 0 };
                int fd = mkstemp(path);
                assert_int_equal(ftruncate(fd, 8 << 20), 0);
                assert_true(pwrite(fd, "x", 1, at[i]) == 1);
                assert_ok(format_device(path, &props, FORMAT_WIPED_HEAD, &t));
                assert_true(pread(fd, magic, 2, 1080) == 2);
                assert_int_equal(magic[0] == 0x53 && magic[1] == 0xef, i > 0);
                (void)close(fd);
                (void)unlink(path);
        }
        arena_done(&a);
}

/* What was wiped when the volume was made is what is looked at: space that was used before is no reason. */
static void test_used_before(void **state)
{
        if (!exec_exists("mkfs.ext4")) skip();
        struct arena a = { 0 };
        struct strmap props = props_of(&a, "Type=ext4");
        char path[] = "/tmp/test_format-XXXXXX", *junk = xmalloc(8 << 20);
        unsigned char magic[2];
        struct trouble t = { 0 };
        int fd = mkstemp(path);
        memset(junk, 'j', 8 << 20);
        assert_int_equal(write(fd, junk, 8 << 20), 8 << 20);
        assert_int_equal(wipe_fd(fd, 8 << 20), 0);
        assert_ok(format_device(path, &props, FORMAT_WIPED_ENDS, &t));
        assert_true(pread(fd, magic, 2, 1080) == 2);
        assert_true(magic[0] == 0x53 && magic[1] == 0xef);
        free(junk);
        (void)close(fd);
        (void)unlink(path);
        arena_done(&a);
}

/* A real one, and not a second time. */
static void test_once(void **state)
{
        if (!exec_exists("mkfs.ext4")) skip();
        struct arena a = { 0 };
        struct strmap props = props_of(&a, "Type=ext4;MkfsParams=-L once;User=12;Group=34"),
                      again = props_of(&a, "Type=ext4");
        char path[] = "/tmp/test_format-XXXXXX";
        unsigned char uuid[2][16];
        struct trouble t = { 0 };
        int fd = mkstemp(path);
        assert_int_equal(ftruncate(fd, 8 << 20), 0);
        assert_ok(format_device(path, &props, FORMAT_WIPED_ENDS, &t));
        assert_int_equal(pread(fd, uuid[0], 16, 1024 + 0x68), 16);
        assert_ok(format_device(path, &again, FORMAT_WIPED_ENDS, &t));
        assert_ok(format_device(path, &again, FORMAT_WIPED_UNKNOWN, &t));
        assert_int_equal(pread(fd, uuid[1], 16, 1024 + 0x68), 16);
        assert_memory_equal(uuid[0], uuid[1], 16);
        char label[5] = "";
        assert_int_equal(pread(fd, label, 4, 1024 + 0x78), 4);
        assert_string_equal(label, "once");
        (void)close(fd);
        (void)unlink(path);
        arena_done(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_commands),
                cmocka_unit_test(test_not_over_anything), cmocka_unit_test(test_older_volume),
                cmocka_unit_test(test_used_before), cmocka_unit_test(test_once) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
