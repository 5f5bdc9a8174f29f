/* Helpers of unit tests, see test.h. */
#include "tests/lib/test.h"

#include <unistd.h>

#include "wire/base/buf.h"
#include "wire/base/err.h"

char *test_file(const char *path, size_t *ret_n)
{
        const char *top = getenv("srcdir");
        char *name = xasprintf("%s/%s", top != NULL ? top : ".", path);
        FILE *f = fopen(name, "rb");
        free(name);
        if (f == NULL) return NULL;
        struct buf b = { 0 };
        for (;;) {
                uint8_t *p = buf_reserve(&b, 65536);
                size_t n = p != NULL ? fread(p, 1, 65536, f) : 0;
                if (n == 0) break;
                buf_advance(&b, n);
        }
        bool ok = !ferror(f) && b.err == 0;
        (void)fclose(f);
        (void)buf_cstr(&b);
        char *text = (char *)buf_take(&b, ret_n);
        if (ok) return text;
        free(text);
        return NULL;
}

const char *test_loopback(void)
{
        static char text[32];
        unsigned pid = (unsigned)getpid();
        (void)snprintf(text, sizeof text, "127.%u.%u.7", 1 + pid / 250 % 250, 1 + pid % 250);
        return text;
}

uint64_t test_rng_next(struct test_rng *r)
{
        uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

uint64_t test_rng_below(struct test_rng *r, uint64_t n) { return test_rng_next(r) % n; }
