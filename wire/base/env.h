/* Clock and randomness behind an interface, so that the simulator can own both. */
#ifndef WIRE_BASE_ENV_H
#define WIRE_BASE_ENV_H

#include <stddef.h>
#include <stdint.h>

struct env {
        /* Monotonic milliseconds, never goes back. */
        uint64_t (*now_ms)(struct env *env);
        /* Wall clock, milliseconds since the Unix epoch. For display and expiry only, never for ordering. */
        uint64_t (*wall_ms)(struct env *env);
        void (*random)(struct env *env, void *p, size_t size_bytes);
};

/* The real one: CLOCK_MONOTONIC, CLOCK_REALTIME, libsodium's randombytes. Static, never freed. */
struct env *env_real(void);
uint64_t env_random_u64(struct env *env);
/* RFC 4122 version 4, lower case, into out[37]. */
void env_uuid(struct env *env, char out[37]);

#endif
