/* Memory, see mem.h. Arena chunks are a singly linked list; the head serves small requests, a large one gets
 * a chunk of its own behind the head, so that the rest of the head is not lost. */
#include "wire/base/mem.h"

#include <pthread.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/base/sodium_once.h"

enum { ARENA_ALIGN = 16, ARENA_CHUNK_MIN = 4096, ARENA_CHUNK_MAX = 256 * 1024 };

struct arena_chunk {
        struct arena_chunk *next;
        size_t cap;
        size_t used;
        _Alignas(ARENA_ALIGN) unsigned char data[];
};

static void *checked(void *p)
{
        if (p == NULL) {
                static const char text[] = "error memory: out of memory\n";
                (void)!fwrite(text, 1, sizeof text - 1, stderr);
                abort();
        }
        return p;
}

void *xmalloc(size_t size_bytes) { return checked(malloc(size_bytes != 0 ? size_bytes : 1)); }

void *xcalloc(size_t count, size_t size_bytes)
{
        return checked(calloc(count != 0 ? count : 1, size_bytes != 0 ? size_bytes : 1));
}

void *xrealloc(void *p, size_t size_bytes) { return checked(realloc(p, size_bytes != 0 ? size_bytes : 1)); }

void *xmemdup(const void *p, size_t size_bytes)
{
        void *q = xmalloc(size_bytes);
        if (size_bytes != 0) memcpy(q, p, size_bytes);
        return q;
}

char *xstrdup(const char *s) { return xmemdup(s, strlen(s) + 1); }

char *xasprintf(const char *fmt, ...)
{
        char *s = NULL;
        va_list ap;
        va_start(ap, fmt);
        int n = vasprintf(&s, fmt, ap);
        va_end(ap);
        return checked(n >= 0 ? s : NULL);
}

int blob_cmp(struct blob a, struct blob b)
{
        size_t n = MIN(a.n, b.n);
        int c = n != 0 ? memcmp(a.p, b.p, n) : 0;
        if (c != 0) return c;
        return (a.n > b.n) - (a.n < b.n);
}

/* ---- arena ---- */

void arena_init(struct arena *a, size_t limit_bytes) { *a = (struct arena){ .limit_bytes = limit_bytes }; }

static void free_chunks(struct arena_chunk *c)
{
        while (c != NULL) {
                struct arena_chunk *next = c->next;
                free(c);
                c = next;
        }
}

void arena_done(struct arena *a)
{
        free_chunks(a->head);
        a->head = NULL;
        a->used_bytes = 0;
}

void arena_reset(struct arena *a)
{
        a->used_bytes = 0;
        if (a->head == NULL) return;
        free_chunks(a->head->next);
        a->head->next = NULL;
        a->head->used = 0;
}

static struct arena_chunk *chunk_new(size_t cap)
{
        struct arena_chunk *c = malloc(sizeof *c + cap);
        if (c == NULL) return NULL;
        c->next = NULL;
        c->cap = cap;
        c->used = 0;
        return c;
}

/* A chunk with room for size bytes: the head, or a new one. NULL when memory is out. */
static struct arena_chunk *chunk_for(struct arena *a, size_t size)
{
        struct arena_chunk *head = a->head;
        if (head != NULL && head->cap - head->used >= size) return head;
        size_t want = head == NULL ? ARENA_CHUNK_MIN : MIN(head->cap * 2, (size_t)ARENA_CHUNK_MAX);
        bool alone = size > want / 2;
        struct arena_chunk *c = chunk_new(alone ? size : want);
        if (c == NULL) return NULL;
        if (alone && head != NULL) {
                c->next = head->next;
                head->next = c;
        } else {
                c->next = head;
                a->head = c;
        }
        return c;
}

void *arena_try(struct arena *a, size_t size_bytes)
{
        size_t limit = a->limit_bytes != 0 ? a->limit_bytes : ARENA_LIMIT_DEFAULT;
        if (size_bytes > limit) return NULL; /* before rounding, which could wrap */
        size_t size = (MAX(size_bytes, (size_t)1) + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
        if (a->used_bytes > limit || size > limit - a->used_bytes) return NULL;
        struct arena_chunk *c = chunk_for(a, size);
        if (c == NULL) return NULL;
        void *p = c->data + c->used;
        c->used += size;
        a->used_bytes += size;
        return memset(p, 0, size);
}

void *arena_array_try(struct arena *a, size_t count, size_t size_bytes)
{
        size_t total;
        if (__builtin_mul_overflow(count, size_bytes, &total)) return NULL;
        return arena_try(a, total);
}

void *arena_alloc(struct arena *a, size_t size_bytes) { return checked(arena_try(a, size_bytes)); }

void *arena_memdup(struct arena *a, const void *p, size_t size_bytes)
{
        void *q = arena_try(a, size_bytes);
        if (q != NULL && size_bytes != 0) memcpy(q, p, size_bytes);
        return q;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
        n = strnlen(s, n);
        char *q = arena_alloc(a, n + 1);
        memcpy(q, s, n);
        return q;
}

char *arena_strdup(struct arena *a, const char *s) { return arena_strndup(a, s, strlen(s)); }

char *arena_printf(struct arena *a, const char *fmt, ...)
{
        va_list ap, again;
        va_start(ap, fmt);
        va_copy(again, ap);
        int n = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        assert(n >= 0);
        char *s = arena_alloc(a, (size_t)n + 1);
        (void)vsnprintf(s, (size_t)n + 1, fmt, again);
        va_end(again);
        return s;
}

/* ---- secrets ---- */

static void init_sodium(void)
{
        if (sodium_init() < 0) {
                static const char text[] = "error memory: libsodium does not start\n";
                (void)!fwrite(text, 1, sizeof text - 1, stderr);
                abort();
        }
}

void sodium_once(void)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        (void)pthread_once(&once, init_sodium);
}

void *secret_alloc(size_t size_bytes)
{
        sodium_once();
        void *p = checked(sodium_malloc(size_bytes));
        return memset(p, 0, size_bytes);
}

void secret_free(void *p)
{
        if (p != NULL) sodium_free(p);
}

void secret_wipe(void *p, size_t size_bytes) { sodium_memzero(p, size_bytes); }
