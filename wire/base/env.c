/* The real clock and randomness, see env.h. */
#include "wire/base/env.h"

#include <sodium.h>
#include <time.h>

#include "wire/base/macros.h"
#include "wire/base/sodium_once.h"

static uint64_t clock_ms(clockid_t id)
{
        struct timespec ts;
        int r = clock_gettime(id, &ts);
        assert(r == 0);
        return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t real_now_ms(struct env *env) { return clock_ms(CLOCK_MONOTONIC); }

static uint64_t real_wall_ms(struct env *env) { return clock_ms(CLOCK_REALTIME); }

static void real_random(struct env *env, void *p, size_t size_bytes)
{
        sodium_once();
        randombytes_buf(p, size_bytes);
}

struct env *env_real(void)
{
        static struct env real = { real_now_ms, real_wall_ms, real_random };
        return &real;
}

uint64_t env_random_u64(struct env *env)
{
        uint64_t v;
        env->random(env, &v, sizeof v);
        return v;
}

void env_uuid(struct env *env, char out[37])
{
        static const char hex[] = "0123456789abcdef";
        uint8_t b[16];
        env->random(env, b, sizeof b);
        b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* version 4 */
        b[8] = (uint8_t)((b[8] & 0x3f) | 0x80); /* variant of RFC 4122 */
        char *s = out;
        for (unsigned i = 0; i < sizeof b; i++) {
                if (i == 4 || i == 6 || i == 8 || i == 10) *s++ = '-';
                *s++ = hex[b[i] >> 4];
                *s++ = hex[b[i] & 0x0f];
        }
        *s = '\0';
}
