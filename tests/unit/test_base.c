/* wire/base: memory, buffers, errors, environment, lists, logging. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire/base/buf.h"
#include "wire/base/dir.h"
#include "wire/base/env.h"
#include "wire/base/err.h"
#include "wire/base/list.h"
#include "wire/base/log.h"

/* ---- arena ---- */

static void arena_gives_zeroed_aligned_memory(void **state)
{
        struct arena a = { 0 };
        for (size_t size = 0; size < 10000; size = size * 3 + 1) {
                unsigned char *p = arena_alloc(&a, size);
                assert_int_equal((uintptr_t)p % 16, 0);
                for (size_t i = 0; i < size; i++) assert_int_equal(p[i], 0);
                memset(p, 0xaa, size);
        }
        arena_reset(&a);
        assert_int_equal(a.used_bytes, 0);
        unsigned char *p = arena_alloc(&a, 1000); /* memory that was used before */
        for (size_t i = 0; i < 1000; i++) assert_int_equal(p[i], 0);
        arena_done(&a);
        assert_non_null(arena_alloc(&a, 1)); /* usable again */
        arena_done(&a);
}

static void arena_keeps_what_it_gave(void **state)
{
        struct arena a = { 0 };
        enum { N = 3000 };
        uint32_t *p[N];
        struct test_rng r = { 1 };
        for (uint32_t i = 0; i < N; i++) {
                size_t n = 1 + test_rng_below(&r, i % 100 == 0 ? 40000 : 40);
                p[i] = arena_alloc(&a, n * sizeof(uint32_t));
                for (size_t j = 0; j < n; j++) p[i][j] = i;
        }
        for (uint32_t i = 0; i < N; i++) assert_int_equal(p[i][0], i);
        arena_done(&a);
}

static void arena_has_a_limit(void **state)
{
        struct arena a;
        arena_init(&a, 1024);
        assert_non_null(arena_try(&a, 1024));
        assert_null(arena_try(&a, 1));
        arena_done(&a);
        assert_null(arena_try(&a, 1025));
        assert_null(arena_try(&a, SIZE_MAX));
        assert_null(arena_try(&a, SIZE_MAX - 8));
        assert_null(arena_array(&a, uint64_t, SIZE_MAX / 4)); /* the product wraps */
        assert_non_null(arena_array(&a, uint64_t, 128));
        arena_done(&a);
}

static void arena_copies_text(void **state)
{
        struct arena a = { 0 };
        assert_string_equal(arena_strdup(&a, "abc"), "abc");
        assert_string_equal(arena_strndup(&a, "abcdef", 3), "abc");
        assert_string_equal(arena_strndup(&a, "ab", 30), "ab");
        assert_string_equal(arena_printf(&a, "%s-%d", "x", 42), "x-42");
        assert_memory_equal(arena_memdup(&a, "a\0b", 3), "a\0b", 3);
        arena_done(&a);
}

static void blobs_compare_as_memory(void **state)
{
        assert_true(blob_cmp(BLOB("ab", 2), BLOB("abc", 3)) < 0);
        assert_true(blob_cmp(BLOB("b", 1), BLOB("abc", 3)) > 0);
        assert_int_equal(blob_cmp(BLOB("abc", 3), BLOB("abc", 3)), 0);
        assert_int_equal(blob_cmp(BLOB(NULL, 0), BLOB("", 0)), 0);
        assert_true(blob_cmp(BLOB("\xff", 1), BLOB("\x01", 1)) > 0);
}

static void secrets_are_zeroed(void **state)
{
        unsigned char *p = secret_alloc(100);
        for (int i = 0; i < 100; i++) assert_int_equal(p[i], 0);
        memset(p, 1, 100);
        secret_wipe(p, 100);
        for (int i = 0; i < 100; i++) assert_int_equal(p[i], 0);
        secret_free(p);
        secret_free(NULL);
}

static void heap_copies(void **state)
{
        char *s = xasprintf("%d/%s", 7, "y"), *d = xstrdup(s);
        assert_string_equal(d, "7/y");
        free(s);
        free(d);
        free(xmalloc(0));
        free(xmemdup(NULL, 0));
}

/* ---- buf ---- */

static void buf_grows(void **state)
{
        struct buf b = { 0 };
        for (unsigned i = 0; i < 5000; i++) buf_put_u8(&b, i & 0xff);
        assert_int_equal(b.err, 0);
        assert_int_equal(b.n, 5000);
        for (unsigned i = 0; i < 5000; i++) assert_int_equal(b.p[i], i & 0xff);
        buf_reset(&b);
        buf_put_be(&b, 0x0102030405060708, 8);
        buf_put_be(&b, 0x0102, 2);
        assert_blob_equal(buf_blob(&b), BLOB("\1\2\3\4\5\6\7\10\1\2", 10));
        buf_reset(&b);
        buf_put_str(&b, "a");
        buf_printf(&b, "[%s]", "0123456789012345678901234567890123456789012345678901234567890123456789");
        assert_int_equal(b.n, 73);
        assert_string_equal(buf_cstr(&b) + 70, "89]");
        size_t n;
        uint8_t *p = buf_take(&b, &n);
        assert_int_equal(n, 73);
        assert_int_equal(b.n, 0);
        assert_null(b.p);
        free(p);
        buf_done(&b);
}

static void buf_printf_fits_exactly(void **state)
{
        for (int width = 1; width < 300; width++) {
                struct buf b = { 0 };
                buf_printf(&b, "%*d", width, 5);
                assert_int_equal(b.n, width);
                assert_int_equal(strlen(buf_cstr(&b)), width);
                assert_int_equal(b.p[width - 1], '5');
                buf_done(&b);
        }
}

static void buf_limit_sticks(void **state)
{
        struct buf b = { .limit_bytes = 4 };
        buf_put(&b, "abcd", 4);
        assert_int_equal(b.err, 0);
        assert_string_equal(buf_cstr(&b), "abcd"); /* the NUL does not count */
        buf_put_u8(&b, 'e');
        assert_int_equal(b.err, E_TOO_LARGE);
        assert_int_equal(b.n, 4);
        buf_put(&b, "", 0);
        buf_printf(&b, "x");
        assert_int_equal(b.n, 4);
        assert_int_equal(b.err, E_TOO_LARGE);
        buf_reset(&b);
        buf_printf(&b, "%s", "abcd");
        assert_int_equal(b.err, 0);
        assert_null(buf_reserve(&b, SIZE_MAX));
        assert_int_equal(b.err, E_TOO_LARGE);
        buf_done(&b);
        assert_int_equal(b.limit_bytes, 4);
        assert_string_equal(buf_cstr(&b), "");
        buf_done(&b);
}

/* ---- errors ---- */

static void errors_have_texts(void **state)
{
#define ERR(name, number, text) assert_string_equal(err_text(E_##name), text);
#include "wire/def/errors.def"
#undef ERR
        assert_string_equal(err_text(-ENOENT), strerror(ENOENT));
        assert_contains(err_text(-30798), "no such key");
        assert_string_equal(err_text(-123456), "unknown error");
        assert_string_equal(err_text(0), "success");
}

static void failures_wrap_outward(void **state)
{
        struct fail f = { .field = "old" };
        assert_int_equal(fail_set(&f, E_INVALID, "port %d", 70000), E_INVALID);
        assert_string_equal(f.field, "");
        assert_int_equal(fail_wrap(&f, "node %s", "a"), E_INVALID);
        assert_string_equal(f.text, "node a: port 70000");
        assert_int_equal(fail_set(NULL, E_BUSY, "x"), E_BUSY);
        for (int i = 0; i < 100; i++) (void)fail_wrap(&f, "%s", "0123456789");
        assert_int_equal(strlen(f.text), sizeof f.text - 1);
        assert_int_equal(strncmp(f.text, "0123456789: 0123456789: ", 24), 0);
        char big[600];
        memset(big, 'x', sizeof big - 1);
        big[sizeof big - 1] = '\0';
        (void)fail_wrap(&f, "%s", big);
        assert_int_equal(strlen(f.text), sizeof f.text - 1);
}

/* ---- environment ---- */

static void fixed_random(struct env *env, void *p, size_t n) { memset(p, 0xff, n); }

static void uuids_are_version_4(void **state)
{
        char s[37], t[37];
        struct env fixed = { .random = fixed_random };
        env_uuid(&fixed, s);
        assert_string_equal(s, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        env_uuid(env_real(), s);
        env_uuid(env_real(), t);
        assert_int_equal(strlen(s), 36);
        assert_string_not_equal(s, t);
        assert_true(env_random_u64(env_real()) != env_random_u64(env_real()));
}

static void clocks_go_forward(void **state)
{
        struct env *e = env_real();
        uint64_t a = e->now_ms(e);
        (void)usleep(20000);
        uint64_t b = e->now_ms(e);
        assert_in_range(b - a, 15, 10000);
        assert_true(e->wall_ms(e) > UINT64_C(1700000000000));
}

/* ---- list ---- */

struct item {
        int value;
        struct list link;
};

static void lists_keep_order(void **state)
{
        struct list head;
        struct item items[4] = { { 1 }, { 2 }, { 3 }, { 0 } };
        list_init(&head);
        assert_true(list_empty(&head));
        for (int i = 0; i < 3; i++) list_push_back(&head, &items[i].link);
        list_push_front(&head, &items[3].link);
        int want = 0;
        LIST_FOREACH(it, &head) assert_int_equal(container_of(it, struct item, link)->value, want++);
        assert_int_equal(want, 4);
        LIST_FOREACH_SAFE(it, nx, &head) list_remove(it);
        assert_true(list_empty(&head));
        list_remove(&items[0].link); /* twice is harmless */
}

/* ---- log ---- */

/* Writes one line at the given level and returns what arrived on stderr. */
static const char *logged(enum log_level level, const char *text)
{
        static char got[8192];
        int fds[2], saved = dup(STDERR_FILENO);
        assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
        (void)dup2(fds[1], STDERR_FILENO);
        log_write(level, "test", "%s", text);
        (void)dup2(saved, STDERR_FILENO);
        ssize_t n = read(fds[0], got, sizeof got - 1);
        got[MAX(n, 0)] = '\0';
        close(fds[0]);
        close(fds[1]);
        close(saved);
        return got;
}

static void log_lines(void **state)
{
        enum log_level level = LOG_ERROR_LEVEL;
        assert_string_equal(logged(LOG_WARN_LEVEL, "hello"), "WARN test: hello\n");
        assert_string_equal(logged(LOG_DEBUG_LEVEL, "hello"), "");
        assert_string_equal(logged(LOG_INFO_LEVEL, "a\nERROR b\x1b[m"), "INFO test: a ERROR b [m\n");
        char big[6000];
        memset(big, 'x', sizeof big - 1);
        big[sizeof big - 1] = '\0';
        const char *line = logged(LOG_INFO_LEVEL, big);
        assert_int_equal(strlen(line), 4096);
        assert_int_equal(line[4095], '\n');
        assert_ok(log_level_parse("trace", &level));
        assert_int_equal(level, LOG_TRACE_LEVEL);
        assert_err(log_level_parse("loud", &level), E_INVALID);
        assert_string_equal(log_level_name(LOG_DEBUG_LEVEL), "DEBUG");
        log_set_level(LOG_DEBUG_LEVEL);
        assert_int_equal(log_get_level(), LOG_DEBUG_LEVEL);
        assert_string_equal(logged(LOG_DEBUG_LEVEL, "now"), "DEBUG test: now\n");
        log_set_level(LOG_INFO_LEVEL);
}

/* ---- directories ---- */

static unsigned mode_of(const char *path)
{
        struct stat st;
        return stat(path, &st) == 0 ? st.st_mode & 0777 : 0;
}

/* A data directory on a machine where nothing of ours is yet: it is private, what is above it is not. */
static void directories_are_made_with_those_above(void **state)
{
        char top[] = "/tmp/test_base.XXXXXX", deep[64], mid[64], file[64];
        struct fail f = { 0 };
        mode_t old = umask(022);
        assert_non_null(mkdtemp(top));
        (void)snprintf(mid, sizeof mid, "%s/a", top);
        (void)snprintf(deep, sizeof deep, "%s/a//b/c/", top);
        assert_int_equal(dir_make(deep, &f), 0);
        assert_int_equal(mode_of(mid), 0755);
        assert_int_equal(mode_of(deep), 0700);
        assert_int_equal(dir_make(deep, &f), 0); /* again */
        assert_int_equal(mode_of(deep), 0700);
        (void)snprintf(deep, sizeof deep, "%s/x/y", top);
        assert_int_equal(dir_make_above(deep, &f), 0);
        assert_int_equal(mode_of(deep), 0);
        (void)snprintf(file, sizeof file, "%s/file", top);
        int fd = open(file, O_CREAT | O_WRONLY, 0600);
        assert_true(fd >= 0);
        (void)close(fd);
        (void)snprintf(deep, sizeof deep, "%s/file/b", top);
        assert_int_equal(dir_make(deep, &f), -ENOTDIR);
        assert_non_null(strstr(f.text, file));
        (void)umask(old);
        (void)unlink(file);
        static const char *const made[] = { "a/b/c", "a/b", "a", "x", "" };
        for (size_t i = 0; i < ARRAY_LEN(made); i++) {
                (void)snprintf(deep, sizeof deep, "%s/%s", top, made[i]);
                assert_int_equal(rmdir(deep), 0);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(arena_gives_zeroed_aligned_memory),
                cmocka_unit_test(arena_keeps_what_it_gave),
                cmocka_unit_test(arena_has_a_limit),
                cmocka_unit_test(arena_copies_text),
                cmocka_unit_test(blobs_compare_as_memory),
                cmocka_unit_test(secrets_are_zeroed),
                cmocka_unit_test(heap_copies),
                cmocka_unit_test(buf_grows),
                cmocka_unit_test(buf_printf_fits_exactly),
                cmocka_unit_test(buf_limit_sticks),
                cmocka_unit_test(errors_have_texts),
                cmocka_unit_test(failures_wrap_outward),
                cmocka_unit_test(uuids_are_version_4),
                cmocka_unit_test(clocks_go_forward),
                cmocka_unit_test(lists_keep_order),
                cmocka_unit_test(log_lines),
                cmocka_unit_test(directories_are_made_with_those_above),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
