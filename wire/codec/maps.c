/* The three map kinds: sorted arrays, searched by halving, changed by making new arrays. */
#include "wire/codec/maps.h"

#include <stdlib.h>

#include "wire/codec/access.h"

/* ---- sorting what a decoder read ---- */

struct key_ref {
        const char *key;
        uint32_t idx; /* position in the input */
};

static int cmp_refs(const void *a, const void *b)
{
        const struct key_ref *x = a, *y = b;
        int c = strcmp(x->key, y->key);
        return c != 0 ? c : (x->idx > y->idx) - (x->idx < y->idx);
}

static bool is_sorted(const char *const *keys, uint32_t n, unsigned stride)
{
        for (size_t i = 1; i < n; i++)
                if (strcmp(keys[(i - 1) * stride], keys[i * stride]) >= 0) return false;
        return true;
}

/* References to the keys in order, of equal ones the last. NULL when the arena is full. */
static struct key_ref *sorted_refs(
        const char *const *keys, uint32_t n, unsigned stride, struct arena *a, uint32_t *ret_n)
{
        struct key_ref *refs = arena_array(a, struct key_ref, n);
        if (refs == NULL) return NULL;
        for (uint32_t i = 0; i < n; i++) refs[i] = (struct key_ref){ keys[(size_t)i * stride], i };
        qsort(refs, n, sizeof refs[0], cmp_refs);
        uint32_t kept = 0;
        for (uint32_t i = 0; i < n; i++) {
                if (i + 1 < n && strcmp(refs[i].key, refs[i + 1].key) == 0) continue;
                refs[kept++] = refs[i];
        }
        *ret_n = kept;
        return refs;
}

/* The elements of array in the order of refs, as a new array. */
static void *pick(const struct key_ref *refs, uint32_t n, const void *array, size_t width, struct arena *a)
{
        char *out = arena_array_try(a, n, width);
        if (out == NULL) return NULL;
        for (size_t i = 0; i < n; i++)
                memcpy(out + i * width, (const char *)array + refs[i].idx * width, width);
        return out;
}

int strmap_sort(struct strmap *m, struct arena *a)
{
        if (is_sorted(m->kv, m->n, 2)) return 0;
        uint32_t n;
        struct key_ref *refs = sorted_refs(m->kv, m->n, 2, a, &n);
        if (refs == NULL) return E_TOO_LARGE;
        m->kv = pick(refs, n, m->kv, 2 * sizeof m->kv[0], a);
        m->n = n;
        return m->kv != NULL ? 0 : E_TOO_LARGE;
}

/* intmap and objmap alike: keys in one array, values of the given width in another. */
static int sort_two(const char ***keys, void **vals, uint32_t *n, size_t width, struct arena *a)
{
        if (is_sorted(*keys, *n, 1)) return 0;
        uint32_t kept;
        struct key_ref *refs = sorted_refs(*keys, *n, 1, a, &kept);
        if (refs == NULL) return E_TOO_LARGE;
        *keys = pick(refs, kept, *keys, sizeof(*keys)[0], a);
        *vals = pick(refs, kept, *vals, width, a);
        *n = kept;
        return *keys != NULL && *vals != NULL ? 0 : E_TOO_LARGE;
}

int intmap_sort(struct intmap *m, struct arena *a)
{
        void *vals = m->vals;
        int r = sort_two(&m->keys, &vals, &m->n, sizeof m->vals[0], a);
        m->vals = vals;
        return r;
}

int objmap_sort(const struct type_desc *t, struct objmap *m, struct arena *a)
{
        return sort_two(&m->keys, &m->vals, &m->n, t->size, a);
}

uint32_t keys_find(const char *const *keys, uint32_t n, unsigned stride, const char *key, bool *ret_found)
{
        uint32_t lo = 0, hi = n;
        while (lo < hi) {
                uint32_t mid = lo + (hi - lo) / 2;
                int c = strcmp(keys[(size_t)mid * stride], key);
                if (c == 0) {
                        *ret_found = true;
                        return mid;
                }
                if (c < 0) lo = mid + 1;
                else hi = mid;
        }
        *ret_found = false;
        return lo;
}

/* ---- strmap ---- */

const char *strmap_get(const struct strmap *m, const char *key)
{
        bool found;
        uint32_t i = keys_find(m->kv, m->n, 2, key, &found);
        return found ? m->kv[2 * (size_t)i + 1] : NULL;
}

/* A new array of n pairs; aborts at the arena's limit, as strmap_set says. */
static const char **pairs_new(struct arena *a, size_t n)
{
        return arena_alloc(a, 2 * n * sizeof(const char *));
}

/* n pairs from the at-th on; of an empty map not even the address is touched. */
static void pairs_copy(const char **to, const char *const *from, size_t at, size_t n)
{
        if (n != 0) memcpy(to, from + 2 * at, 2 * n * sizeof to[0]);
}

void strmap_set(struct strmap *m, const char *key, const char *value, struct arena *a)
{
        bool found;
        size_t i = keys_find(m->kv, m->n, 2, key, &found);
        size_t n = m->n + (found ? 0U : 1U);
        const char **kv = pairs_new(a, n);
        pairs_copy(kv, m->kv, 0, i);
        kv[2 * i] = found ? m->kv[2 * i] : arena_strdup(a, key);
        kv[2 * i + 1] = arena_strdup(a, value);
        size_t rest = i + (found ? 1U : 0U);
        pairs_copy(kv + 2 * (i + 1), m->kv, rest, m->n - rest);
        *m = (struct strmap){ kv, (uint32_t)n };
}

/* Removes count pairs from the i-th on. */
static void cut(struct strmap *m, size_t i, size_t count, struct arena *a)
{
        const char **kv = pairs_new(a, m->n - count);
        pairs_copy(kv, m->kv, 0, i);
        pairs_copy(kv + 2 * i, m->kv, i + count, m->n - i - count);
        *m = (struct strmap){ kv, (uint32_t)(m->n - count) };
}

bool strmap_del(struct strmap *m, const char *key, struct arena *a)
{
        bool found;
        uint32_t i = keys_find(m->kv, m->n, 2, key, &found);
        if (found) cut(m, i, 1, a);
        return found;
}

uint32_t strmap_del_namespace(struct strmap *m, const char *ns, struct arena *a)
{
        uint32_t before = m->n;
        (void)strmap_del(m, ns, a);
        /* all keys with the prefix "ns/" are neighbours */
        size_t len = strlen(ns);
        uint32_t from = 0;
        while (from < m->n) {
                const char *k = m->kv[2 * (size_t)from];
                if (strncmp(k, ns, len) == 0 && k[len] == '/') break;
                from++;
        }
        uint32_t to = from;
        while (to < m->n) {
                const char *k = m->kv[2 * (size_t)to];
                if (strncmp(k, ns, len) != 0 || k[len] != '/') break;
                to++;
        }
        if (to > from) cut(m, from, to - from, a);
        return before - m->n;
}

void strmap_merge(struct strmap *m, const struct strmap *more, struct arena *a)
{
        if (more->n == 0) return;
        const char **kv = pairs_new(a, (size_t)m->n + more->n);
        size_t i = 0, j = 0, n = 0;
        while (i < m->n || j < more->n) {
                int c = i == m->n ? 1 : j == more->n ? -1 : strcmp(m->kv[2 * i], more->kv[2 * j]);
                pairs_copy(kv + 2 * n++, c < 0 ? m->kv : more->kv, c < 0 ? i : j, 1);
                if (c <= 0) i++;
                if (c >= 0) j++;
        }
        *m = (struct strmap){ kv, (uint32_t)n };
}

/* ---- intmap, objmap ---- */

bool intmap_get(const struct intmap *m, const char *key, int64_t *ret_value)
{
        bool found;
        uint32_t i = keys_find(m->keys, m->n, 1, key, &found);
        if (found) *ret_value = m->vals[i];
        return found;
}

/* Copies keys and values (of the given width) with a gap of one at i. */
static void open_gap(const char ***keys, void **vals, uint32_t n, uint32_t i, size_t width, const char *key,
        struct arena *a)
{
        const char **k = arena_alloc(a, ((size_t)n + 1) * sizeof *k);
        char *v = arena_alloc(a, ((size_t)n + 1) * width);
        if (n != 0) {
                memcpy(k, *keys, i * sizeof *k);
                memcpy(k + i + 1, *keys + i, (n - i) * sizeof *k);
                memcpy(v, *vals, i * width);
                memcpy(v + (i + 1) * width, (char *)*vals + i * width, (n - i) * width);
        }
        k[i] = arena_strdup(a, key);
        *keys = k;
        *vals = v;
}

void intmap_set(struct intmap *m, const char *key, int64_t value, struct arena *a)
{
        bool found;
        uint32_t i = keys_find(m->keys, m->n, 1, key, &found);
        void *vals = m->vals;
        if (found) vals = memcpy(arena_alloc(a, m->n * sizeof value), vals, m->n * sizeof value);
        else open_gap(&m->keys, &vals, m->n++, i, sizeof value, key, a);
        m->vals = vals;
        m->vals[i] = value;
}

void *objmap_get(const struct type_desc *t, const struct objmap *m, const char *key)
{
        bool found;
        uint32_t i = keys_find(m->keys, m->n, 1, key, &found);
        return found ? elem_w(t, m->vals, i) : NULL;
}

void *objmap_add(const struct type_desc *t, struct objmap *m, const char *key, struct arena *a)
{
        bool found;
        uint32_t i = keys_find(m->keys, m->n, 1, key, &found);
        if (!found) open_gap(&m->keys, &m->vals, m->n++, i, t->size, key, a);
        return elem_w(t, m->vals, i);
}
