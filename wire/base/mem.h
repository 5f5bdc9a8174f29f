/* Memory: small allocations abort on failure; anything sized by input comes from a limited arena.
 *
 * Threads: the functions are re-entrant; one arena belongs to one thread at a time. */
#ifndef WIRE_BASE_MEM_H
#define WIRE_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "wire/base/macros.h"

/* malloc, calloc, realloc, strdup, memdup that abort when memory is out. For sizes that no input chooses. */
void *xmalloc(size_t size_bytes) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size_bytes) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t size_bytes) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
void *xmemdup(const void *p, size_t size_bytes) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((malloc, returns_nonnull));

/* A zeroed struct: struct foo *f = xnew(struct foo); */
#define xnew(type) ((type *)xcalloc(1, sizeof(type)))

/* A byte range that somebody else owns. p may be NULL when n is 0. */
struct blob {
        const uint8_t *p;
        size_t n;
};
#define BLOB(ptr, size) ((struct blob){ (const uint8_t *)(ptr), (size) })
int blob_cmp(struct blob a, struct blob b); /* memcmp order, shorter first on equal prefix */

/* Arena: allocate many, free once. Addresses are stable until arena_done() or arena_reset().
 * Zero-initialised is valid; limit_bytes 0 means ARENA_LIMIT_DEFAULT. */
#define ARENA_LIMIT_DEFAULT ((size_t)64 << 20)
struct arena_chunk;
struct arena {
        struct arena_chunk *head;
        size_t used_bytes;
        size_t limit_bytes;
};
void arena_init(struct arena *a, size_t limit_bytes);
/* Frees everything; the arena is then empty and usable again. */
void arena_done(struct arena *a);
/* Forgets all allocations but keeps one chunk for re-use. */
void arena_reset(struct arena *a);
/* Zeroed memory, 16-byte aligned; NULL when the limit would be passed (never aborts on input-sized requests). */
void *arena_try(struct arena *a, size_t size_bytes);
/* As arena_try, but aborts at the limit: for small sizes that no input chooses. */
void *arena_alloc(struct arena *a, size_t size_bytes) __attribute__((returns_nonnull));
char *arena_strdup(struct arena *a, const char *s) __attribute__((returns_nonnull));
char *arena_strndup(struct arena *a, const char *s, size_t n) __attribute__((returns_nonnull));
void *arena_memdup(struct arena *a, const void *p, size_t size_bytes);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3) __attribute__((returns_nonnull));
#define arena_new(a, type) ((type *)arena_alloc((a), sizeof(type)))
/* count elements of size_bytes; NULL at the limit or when the product overflows. */
void *arena_array_try(struct arena *a, size_t count, size_t size_bytes);
#define arena_array(a, type, n) ((type *)arena_array_try((a), (size_t)(n), sizeof(type)))

/* For secrets: locked, not dumped, wiped by secret_free (libsodium's sodium_malloc). */
void *secret_alloc(size_t size_bytes);
void secret_free(void *p);
void secret_wipe(void *p, size_t size_bytes);

#endif
