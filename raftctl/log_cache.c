#include "raftctl/log_cache.h"

#include <stdlib.h>
#include <string.h>

struct entry *entry_new(uint64_t index, uint64_t term, uint8_t type, struct blob data)
{
        struct entry *e = xmalloc(sizeof(*e) + data.n);

        *e = (struct entry){ .refs = 1, .type = type, .index = index, .term = term, .n = data.n };
        if (data.n) memcpy(e->data, data.p, data.n);
        return e;
}

struct entry *entry_ref(struct entry *e)
{
        e->refs++;
        return e;
}

void entry_unref(struct entry *e)
{
        if (e && --e->refs == 0) free(e);
}

static size_t entry_cost(const struct entry *e) { return sizeof(*e) + e->n; }

void log_cache_reset(struct log_cache *c, uint64_t next_index)
{
        if (c->cap)
                for (uint64_t i = c->first; i <= c->last; i++) entry_unref(c->slots[i & (c->cap - 1)]);
        c->first = next_index;
        c->last = next_index - 1;
        c->bytes = 0;
}

void log_cache_done(struct log_cache *c)
{
        log_cache_reset(c, 1);
        free(c->slots);
        *c = (struct log_cache){ 0 };
}

static void grow(struct log_cache *c)
{
        uint64_t cap = c->cap ? c->cap * 2 : 256;
        struct entry **slots = xcalloc(cap, sizeof(*slots));

        if (c->cap)
                for (uint64_t i = c->first; i <= c->last; i++)
                        slots[i & (cap - 1)] = c->slots[i & (c->cap - 1)];
        free(c->slots);
        c->slots = slots;
        c->cap = cap;
}

void log_cache_append(struct log_cache *c, struct entry *e)
{
        assert(e->index == c->last + 1);
        if (c->last + 1 - c->first == c->cap) grow(c);
        c->last++;
        c->slots[c->last & (c->cap - 1)] = e;
        c->bytes += entry_cost(e);
}

void log_cache_truncate(struct log_cache *c, uint64_t from)
{
        while (c->last >= from && c->last >= c->first) {
                struct entry *e = c->slots[c->last & (c->cap - 1)];
                c->bytes -= entry_cost(e);
                entry_unref(e);
                c->last--;
        }
        if (from < c->first) {
                c->first = from;
                c->last = from - 1;
        }
}

void log_cache_evict(struct log_cache *c, uint64_t upto, size_t limit_bytes)
{
        while (c->bytes > limit_bytes && c->first <= c->last && c->first <= upto) {
                struct entry *e = c->slots[c->first & (c->cap - 1)];
                c->bytes -= entry_cost(e);
                entry_unref(e);
                c->first++;
        }
}

struct entry *log_cache_get(const struct log_cache *c, uint64_t index)
{
        return index < c->first || index > c->last ? NULL : c->slots[index & (c->cap - 1)];
}
