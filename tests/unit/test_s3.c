/* Signing requests to S3 (wire/net/s3_sign.h), reading its answers, and the stream that volumes are shipped as (satellite/ship/ship_stream.h). */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "satellite/ship/ship_stream.h"
#include "wire/net/s3.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* The service's own documentation has this request and its signature. */
static void test_signature(void **state)
{
        struct arena a = { 0 };
        struct s3_signing s = { .method = "GET",
                .host = "examplebucket.s3.amazonaws.com",
                .path = "/test.txt",
                .range = "bytes=0-9",
                .body_hash = EMPTY,
                .region = "us-east-1",
                .access_key = "AKIAIOSFODNN7EXAMPLE",
                .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                .time = "20130524T000000Z" };
        (void)state;
        const char *got = s3_authorization(&s, &a);
        assert_non_null(
                strstr(got, "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
        assert_non_null(strstr(got, "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"));
        assert_null(strstr(got, "wJalr"));
        const struct s3_query q[] = { { "prefix", "J" }, { "max-keys", "2" } };
        s.range = NULL;
        s.path = "/";
        s.query = q;
        s.query_n = 2;
        assert_non_null(strstr(s3_authorization(&s, &a),
                "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
        arena_done(&a);
}

static void test_texts(void **state)
{
        struct arena a = { 0 };
        char hash[S3_HASH_HEX];
        const char **list;
        (void)state;
        s3_sha256(BLOB("", 0), hash);
        assert_string_equal(hash, EMPTY);
        assert_string_equal(s3_escape("a/b c^~\xc3\xbc", true, &a), "a/b%20c%5E~%C3%BC");
        assert_string_equal(s3_escape("a/b", false, &a), "a%2Fb");
        const struct s3_query q[] = { { "uploads", "" }, { "prefix", "x/y" } };
        assert_string_equal(s3_query_text(q, 2, &a), "prefix=x%2Fy&uploads=");
        assert_string_equal(s3_time(1369353600, &a), "20130524T000000Z");
        assert_int_equal(
                s3_xml_all("<R><Key>a&amp;b</Key><X/><Key>&lt;c&#39;</Key><Key>cut", "Key", &a, &list), 2);
        assert_string_equal(list[0], "a&b");
        assert_string_equal(list[1], "<c'");
        assert_int_equal(s3_xml_all("", "Key", &a, &list), 0);
        arena_done(&a);
}

/* ---- the stream ---- */

#define SIZE (3u << 20)

static int temp_file(void)
{
        char name[] = "/tmp/outrigger-test-s3-XXXXXX";
        int fd = mkstemp(name);
        assert_true(fd >= 0 && unlink(name) == 0 && ftruncate(fd, SIZE) == 0);
        return fd;
}

static int collect(void *arg, const void *data, size_t n)
{
        buf_put(arg, data, n);
        return ((struct buf *)arg)->err;
}

/* Holes, zeros that are no hole, data over the limit of a run, data at the very end. */
static int make_source(void)
{
        int fd = temp_file();
        uint8_t *p = malloc((1 << 20) + 70000);
        assert_non_null(p);
        for (size_t i = 0; i < (1 << 20) + 70000; i++) p[i] = (uint8_t)(i * 31 + i / 251 + 1);
        assert_true(pwrite(fd, p, (1 << 20) + 70000, 8192) > 0);
        memset(p, 0, 65536);
        assert_true(pwrite(fd, p, 65536, 2 << 20) > 0);
        assert_true(pwrite(fd, "end", 3, SIZE - 3) == 3);
        free(p);
        return fd;
}

static int receive_as(int fd, const struct buf *stream, size_t n, size_t step, uint64_t size, bool differs)
{
        struct ship_in in;
        int err = 0;
        ship_in_open(&in, fd, size, differs);
        for (size_t at = 0; at < n && err == 0; at += step)
                err = ship_in_feed(&in, stream->p + at, MIN(step, n - at));
        int end = ship_in_close(&in);
        return err != 0 ? err : end;
}

static int receive(int fd, const struct buf *stream, size_t n, size_t step, uint64_t size)
{
        return receive_as(fd, stream, n, step, size, false);
}

static void assert_same(int a, int b)
{
        uint8_t *x = malloc(SIZE), *y = malloc(SIZE);
        assert_true(x != NULL && y != NULL);
        assert_true(pread(a, x, SIZE, 0) == SIZE && pread(b, y, SIZE, 0) == SIZE);
        assert_int_equal(memcmp(x, y, SIZE), 0);
        free(x);
        free(y);
}

static void test_stream(void **state)
{
        static const size_t steps[] = { 1u << 22, 65536, 4093, 7 };
        struct buf stream = { 0 };
        int from = make_source();
        (void)state;
        assert_int_equal(ship_stream_write(from, SIZE, collect, &stream), 0);
        assert_true(stream.n < (1u << 20) + 200000 && stream.n <= ship_stream_max(SIZE));
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
                int to = temp_file();
                assert_int_equal(receive(to, &stream, stream.n, steps[i], SIZE), 0);
                assert_same(from, to);
                close(to);
        }
        int to = temp_file();
        assert_int_equal(receive(to, &stream, stream.n, 65536, SIZE + 1), E_CORRUPT);
        close(to);
        close(from);
        buf_done(&stream);
        struct buf empty = { 0 };
        from = temp_file();
        to = temp_file();
        assert_int_equal(ship_stream_write(from, SIZE, collect, &empty), 0);
        assert_int_equal(empty.n, SHIP_HEAD + SHIP_RECORD + SHIP_HASH);
        assert_int_equal(receive(to, &empty, empty.n, 3, SIZE), 0);
        buf_done(&empty);
        close(from);
        close(to);
}

/* Cut anywhere, or one byte changed: never taken as whole, and nothing is written beyond the size. */
static void test_damage(void **state)
{
        struct buf stream = { 0 };
        int from = temp_file(), to = temp_file();
        (void)state;
        assert_true(pwrite(from, "some data", 9, 4096) == 9);
        assert_int_equal(ship_stream_write(from, SIZE, collect, &stream), 0);
        for (size_t n = 0; n<stream.n; n += n> 64 && n + 64 < stream.n ? 61 : 1)
                assert_int_not_equal(receive(to, &stream, n, 512, SIZE), 0);
        for (size_t i = 0; i<stream.n; i += i> 64 && i + 64 < stream.n ? 61 : 1) {
                stream.p[i] ^= 0x41;
                assert_int_not_equal(receive(to, &stream, stream.n, 512, SIZE), 0);
                stream.p[i] ^= 0x41;
        }
        buf_put(&stream, "x", 1);
        assert_int_not_equal(receive(to, &stream, stream.n, 512, SIZE), 0);
        assert_int_equal(lseek(to, 0, SEEK_END), SIZE);
        buf_done(&stream);
        close(from);
        close(to);
}

/* What has changed: data, data that became zeros, a hole where data was, data where a hole was; applied to the base it gives the same. */
static void test_difference(void **state)
{
        static uint8_t page[300000];
        struct buf stream = { 0 }, none = { 0 };
        int base = make_source(), now = make_source(), to = make_source(), spoilt = make_source();
        (void)state;
        memset(page, 7, sizeof page);
        assert_true(pwrite(now, page, 5000, 100000) == 5000);
        assert_true(pwrite(now, page, sizeof page, 1500000) == (ssize_t)sizeof page);
        assert_int_equal(fallocate(now, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 204800, 409600), 0);
        memset(page, 0, sizeof page);
        assert_true(pwrite(now, page, 70000, 700000) == 70000);
        assert_true(pwrite(now, "END", 3, SIZE - 3) == 3);
        assert_int_equal(ship_stream_diff(now, base, SIZE, collect, &stream), 0);
        assert_true(stream.n > 300000 && stream.n < 340000);
        assert_int_equal(receive(to, &stream, stream.n, 65536, SIZE), E_CORRUPT);
        for (size_t n = 0; n<stream.n; n += n> 64 && n + 64 < stream.n ? 1571 : 1)
                assert_int_not_equal(receive_as(spoilt, &stream, n, 65536, SIZE, true), 0);
        for (size_t i = 0; i < 64; i++) {
                stream.p[i] ^= 0x41;
                assert_int_not_equal(receive_as(spoilt, &stream, stream.n, 65536, SIZE, true), 0);
                stream.p[i] ^= 0x41;
        }
        assert_int_equal(receive_as(to, &stream, stream.n, 4093, SIZE, true), 0);
        assert_same(now, to);
        assert_int_equal(ship_stream_diff(now, to, SIZE, collect, &none), 0);
        assert_int_equal(none.n, SHIP_HEAD + SHIP_RECORD + SHIP_HASH);
        assert_int_equal(receive_as(to, &none, none.n, 7, SIZE, true), 0);
        assert_same(now, to);
        buf_done(&stream);
        buf_done(&none);
        close(base);
        close(now);
        close(to);
        close(spoilt);
}

static int stop_early(void *arg, const void *data, size_t n)
{
        (void)data, (void)n;
        return ++*(unsigned *)arg > 2 ? E_CANCELED : 0;
}

static void test_stopped(void **state)
{
        unsigned calls = 0;
        int from = make_source();
        (void)state;
        assert_int_equal(ship_stream_write(from, SIZE, stop_early, &calls), E_CANCELED);
        assert_int_equal(ship_stream_write(from, SIZE + 4096, stop_early, &calls), E_CANCELED);
        close(from);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_signature),
                cmocka_unit_test(test_texts),
                cmocka_unit_test(test_stream),
                cmocka_unit_test(test_damage),
                cmocka_unit_test(test_difference),
                cmocka_unit_test(test_stopped),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
