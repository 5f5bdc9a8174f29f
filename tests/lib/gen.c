/* Random values, see gen.h. */
#include "tests/lib/gen.h"

enum { ELEMENTS_MAX = 3, TEXT_PIECES_MAX = 5 };

static const char *gen_text(struct test_rng *r, struct arena *a)
{
        static const char *const pieces[] = { "a", "Z", "node-1", "/", " ", "\"", "\\", "\n", "\x01",
                "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x9a\xa3", "0123456789abcdef0123456789abcdef", "\x7f" };
        const char *s = "x";
        for (uint64_t n = test_rng_below(r, TEXT_PIECES_MAX); n > 0; n--)
                s = arena_printf(a, "%s%s", s, pieces[test_rng_below(r, ARRAY_LEN(pieces))]);
        return s;
}

/* Numbers of every length, most of them small. */
static uint64_t gen_u64(struct test_rng *r)
{
        uint64_t v = test_rng_next(r);
        return v >> test_rng_below(r, 64);
}

static uint32_t gen_n(struct test_rng *r, unsigned depth)
{
        return depth > 0 ? (uint32_t)test_rng_below(r, ELEMENTS_MAX + 1) : 0;
}

static const char **gen_keys(struct test_rng *r, uint32_t n, unsigned stride, struct arena *a)
{
        const char **keys = arena_alloc(a, (size_t)n * stride * sizeof *keys);
        for (uint32_t i = 0; i < n; i++)
                keys[(size_t)i * stride] = arena_printf(a, "%u%s", i, gen_text(r, a));
        return keys;
}

static void *gen_array(
        const struct type_desc *t, struct test_rng *r, uint32_t n, unsigned depth, struct arena *a)
{
        char *array = arena_alloc(a, (size_t)n * t->size);
        for (uint32_t i = 0; i < n; i++) gen_obj(t, r, depth - 1, a, array + (size_t)i * t->size);
        return array;
}

static void gen_list(const struct field_desc *f, struct test_rng *r, unsigned depth, struct arena *a, void *o)
{
        void *p = (char *)o + f->off;
        uint32_t n = gen_n(r, depth);
        memcpy((char *)o + f->off_n, &n, sizeof n);
        if (f->kind == FK_LIST) {
                *(void **)p = gen_array(f->sub, r, n, depth, a);
        } else if (f->kind == FK_STRS) {
                const char **strs = arena_alloc(a, n * sizeof *strs);
                for (uint32_t i = 0; i < n; i++) strs[i] = gen_text(r, a);
                *(const char ***)p = strs;
        } else {
                uint64_t *nums = arena_alloc(a, n * sizeof *nums);
                for (uint32_t i = 0; i < n; i++) nums[i] = gen_u64(r);
                *(uint64_t **)p = nums;
        }
}

static void gen_map(const struct field_desc *f, struct test_rng *r, unsigned depth, struct arena *a, void *p)
{
        uint32_t n = gen_n(r, depth);
        if (f->kind == FK_MAP) {
                struct strmap *m = p;
                *m = (struct strmap){ gen_keys(r, n, 2, a), n };
                for (uint32_t i = 0; i < n; i++) m->kv[2 * (size_t)i + 1] = gen_text(r, a);
        } else if (f->kind == FK_IMAP) {
                struct intmap *m = p;
                *m = (struct intmap){ gen_keys(r, n, 1, a), arena_alloc(a, n * sizeof(int64_t)), n };
                for (uint32_t i = 0; i < n; i++) m->vals[i] = (int64_t)gen_u64(r);
        } else {
                struct objmap *m = p;
                *m = (struct objmap){ gen_keys(r, n, 1, a), gen_array(f->sub, r, n, depth, a), n };
        }
}

static uint64_t gen_flags(const struct flags_desc *d, struct test_rng *r)
{
        uint64_t v = 0;
        for (uint32_t i = 0; i < d->n; i++)
                if (test_rng_below(r, 2)) v |= d->flags[i].bits;
        return v;
}

static void gen_field(
        const struct field_desc *f, struct test_rng *r, unsigned depth, struct arena *a, void *o)
{
        void *p = (char *)o + f->off;
        switch ((enum field_kind)f->kind) {
        case FK_BOOL: *(bool *)p = test_rng_below(r, 2) != 0; break;
        case FK_I64: *(int64_t *)p = (int64_t)gen_u64(r); break;
        case FK_U64: *(uint64_t *)p = gen_u64(r); break;
        case FK_F64: *(double *)p = (double)(int64_t)gen_u64(r) / 8; break;
        case FK_STR: *(const char **)p = gen_text(r, a); break;
        case FK_BIN: {
                size_t n = 1 + test_rng_below(r, 9);
                uint64_t bytes[2] = { test_rng_next(r), test_rng_next(r) };
                *(struct blob *)p = BLOB(arena_memdup(a, bytes, n), n);
                break;
        }
        case FK_ENUM:
                *(unsigned *)p = (unsigned)test_rng_below(r, ((const struct enum_desc *)f->sub)->n);
                break;
        case FK_FLAGS: *(uint64_t *)p = gen_flags(f->sub, r); break;
        case FK_OBJ: *(void **)p = gen_array(f->sub, r, 1, depth > 0 ? depth : 1, a); break;
        case FK_LIST:
        case FK_STRS:
        case FK_U64S: gen_list(f, r, depth, a, o); break;
        case FK_MAP:
        case FK_IMAP:
        case FK_OMAP: gen_map(f, r, depth, a, p); break;
        }
}

void gen_obj(const struct type_desc *t, struct test_rng *r, unsigned depth, struct arena *a, void *o)
{
        memset(o, 0, t->size);
        uint64_t has = 0;
        for (unsigned i = 0; i < t->n_fields; i++) {
                const struct field_desc *f = &t->fields[i];
                bool wanted = depth > 0 && test_rng_below(r, 4) != 0;
                if (!wanted && !(f->flags & FF_REQ)) continue;
                gen_field(f, r, depth, a, o);
                has |= UINT64_C(1) << i;
        }
        memcpy(o, &has, sizeof has);
}

static bool complete(const struct type_desc *t, unsigned depth)
{
        for (unsigned i = 0; i < t->n_fields; i++) {
                const struct field_desc *f = &t->fields[i];
                if ((f->flags & FF_REQ) && (f->flags & (FF_SECRET | FF_INTERNAL))) return false;
                bool nested = f->kind == FK_OBJ || f->kind == FK_LIST || f->kind == FK_OMAP;
                if (nested && depth > 0 && !complete(f->sub, depth - 1)) return false;
        }
        return true;
}

bool gen_json_complete(const struct type_desc *t) { return complete(t, 6); }
