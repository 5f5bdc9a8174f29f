/* References between rows, see check_internal.h: the lines of wire/def/refs.def, walked in both directions.
 */
#include <string.h>

#include "state/check_internal.h"
#include "wire/def/types.h"

enum { PARTS_MAX = 3 };
struct part {
        uint32_t off; /* of a string or a number: 8 bytes either way, where pointers have 64 bits */
        bool item;    /* in the list's element */
        bool is_str;
};
struct ref {
        const struct type_desc *source, *target, *item; /* item NULL: no list */
        uint32_t list_off, list_n_off;
        struct part parts[PARTS_MAX];
};

#define IS_STR(T_, m_) _Generic(((struct T_ *)0)->m_, const char * : true, default : false)
#define OWN(T_, m_)                                            \
        {                                                      \
                offsetof(struct T_, m_), false, IS_STR(T_, m_) \
        }
#define ITEM(T_, m_)                                          \
        {                                                     \
                offsetof(struct T_, m_), true, IS_STR(T_, m_) \
        }
#define REF(source, target, ...) { &source##_type, &target##_type, NULL, 0, 0, { __VA_ARGS__ } },
#define REF_EACH(source, list, item, target, ...)                                      \
        { &source##_type, &target##_type, &item##_type, offsetof(struct source, list), \
                offsetof(struct source, list##_n), { __VA_ARGS__ } },
static const struct ref refs[] = {
#include "wire/def/refs.def"
};
#undef REF
#undef REF_EACH
#undef OWN
#undef ITEM
_Static_assert(sizeof(const char *) <= sizeof(uint64_t), "parts are copied as numbers");

static void copy_part(void *to, const struct field_desc *f, const void *from, const struct part *p)
{
        size_t n = p->is_str ? sizeof(const char *) : sizeof(uint64_t);
        memcpy((char *)to + f->off, (const char *)from + p->off, n);
}

/* The key of the target that the i-th element (or the row itself) names; false = it names nothing. */
static bool target_key(const struct ref *r, const void *obj, uint32_t i, struct arena *a, struct buf *out)
{
        const char *item = NULL;
        uint64_t all = UINT64_MAX;
        if (r->item != NULL) {
                memcpy(&item, (const char *)obj + r->list_off, sizeof item);
                item += (size_t)i * r->item->size;
        }
        void *target = arena_alloc(a, r->target->size);
        memcpy(target, &all, sizeof all); /* every field is present */
        const struct part *p = r->parts;
        for (unsigned k = 0; k < r->target->n_fields; k++) {
                const struct field_desc *f = &r->target->fields[k];
                if (!(f->flags & FF_KEY)) continue;
                const void *from = p->item ? (const void *)item : obj;
                const char *s = "x";
                if (p->is_str) memcpy(&s, (const char *)from + p->off, sizeof s);
                if (s == NULL || s[0] == '\0') return false;
                copy_part(target, f, from, p++);
        }
        buf_reset(out);
        enc_key(r->target, target, out);
        return out->err == 0;
}

static uint32_t ref_count(const struct ref *r, const void *obj)
{
        uint32_t n = 1;
        if (r->item != NULL) memcpy(&n, (const char *)obj + r->list_n_off, sizeof n);
        return n;
}

void check_refs_of(struct checker *c, const struct checked_row *row, struct arena *a)
{
        struct buf key = { 0 };
        struct blob value;
        for (size_t k = 0; k < ARRAY_LEN(refs); k++) {
                const struct ref *r = &refs[k];
                if (r->source != row->type) continue;
                uint32_t n = ref_count(r, row->obj);
                for (uint32_t i = 0; i < n; i++) {
                        if (!target_key(r, row->obj, i, a, &key)) continue;
                        if (check_get(c, buf_blob(&key), &value) != E_NOT_FOUND) continue;
                        check_finding(c, "%s refers to %s, which does not exist", check_key_text(row->key, a),
                                check_key_text(buf_blob(&key), a));
                }
        }
        buf_done(&key);
}

struct backwards {
        struct checker *c;
        const struct ref *ref;
        struct blob target;
};

static bool visit_source(void *arg, struct checked_row *row, struct arena *a)
{
        struct backwards *b = arg;
        struct buf key = { 0 };
        uint32_t n = ref_count(b->ref, row->obj);
        for (uint32_t i = 0; i < n; i++) {
                if (!target_key(b->ref, row->obj, i, a, &key)) continue;
                if (blob_cmp(buf_blob(&key), b->target) != 0) continue;
                check_finding(b->c, "%s refers to %s, which was deleted", check_key_text(row->key, a),
                        check_key_text(b->target, a));
                break;
        }
        buf_done(&key);
        return true;
}

void check_refs_to(struct checker *c, const struct type_desc *t, struct blob key)
{
        for (size_t k = 0; k < ARRAY_LEN(refs); k++) {
                if (refs[k].target != t) continue;
                struct backwards b = { c, &refs[k], key };
                check_each(c, refs[k].source, NULL, 0, visit_source, &b);
        }
}
