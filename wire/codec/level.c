/* Feature levels of values: what is in an object that releases of a lower level do not know. See codec.h. */
#include "wire/codec/access.h"

unsigned field_since(const struct field_desc *f) { return MAX((unsigned)f->flags >> 8, LEVEL_FIRST); }

/* ---- looking ---- */

static unsigned flags_level(const struct flags_desc *d, uint64_t value)
{
        unsigned level = LEVEL_FIRST;
        for (uint32_t i = 0; i < d->n; i++)
                if ((value & d->flags[i].bits) == d->flags[i].bits) level = MAX(level, d->flags[i].since);
        return level;
}

static unsigned enum_level(const struct enum_desc *d, unsigned value)
{
        return value < d->n ? d->since[value] : LEVEL_FIRST;
}

static unsigned array_level(const struct type_desc *t, const void *array, uint32_t n)
{
        unsigned level = LEVEL_FIRST;
        for (uint32_t i = 0; i < n; i++) level = MAX(level, obj_level(t, elem(t, array, i)));
        return level;
}

static unsigned value_level(const struct field_desc *f, const void *o)
{
        const void *p = member(o, f);
        if (f->kind == FK_ENUM) return enum_level(f->sub, get_enum(p));
        if (f->kind == FK_FLAGS) return flags_level(f->sub, get_u64(p));
        if (f->kind == FK_OBJ) return obj_level(f->sub, get_ptr(p));
        if (f->kind == FK_LIST) return array_level(f->sub, get_ptr(p), count_get(o, f));
        if (f->kind == FK_OMAP) {
                const struct objmap *m = p;
                return array_level(f->sub, m->vals, m->n);
        }
        return LEVEL_FIRST;
}

unsigned obj_level(const struct type_desc *t, const void *o)
{
        unsigned level = t->since;
        for (unsigned i = 0; i < t->n_fields; i++) {
                const struct field_desc *f = &t->fields[i];
                if ((f->flags & FF_OBSERVED) || !is_present(o, f, i)) continue;
                level = MAX(level, MAX(field_since(f), value_level(f, o)));
        }
        return level;
}

/* ---- taking away ---- */

static int strip(const struct type_desc *t, void *o, unsigned level, const char **ret_name);

static int strip_array(
        const struct type_desc *t, void *array, uint32_t n, unsigned level, const char **ret_name)
{
        int err = 0;
        for (uint32_t i = 0; i < n && err == 0; i++) err = strip(t, elem_w(t, array, i), level, ret_name);
        return err;
}

static int strip_value(const struct field_desc *f, void *o, unsigned level, const char **ret_name)
{
        void *p = member_w(o, f);
        if (f->kind == FK_ENUM && enum_level(f->sub, get_enum(p)) > level) {
                *ret_name = enum_name(f->sub, get_enum(p));
                return E_LEVEL;
        }
        if (f->kind == FK_FLAGS) {
                const struct flags_desc *d = f->sub;
                uint64_t known = 0;
                for (uint32_t i = 0; i < d->n; i++)
                        if (d->flags[i].since <= level) known |= d->flags[i].bits;
                for (uint32_t i = 0; i < d->n; i++) {
                        if ((get_u64(p) & d->flags[i].bits & ~known) == 0) continue;
                        put_u64(p, get_u64(p) & ~(d->flags[i].bits & ~known));
                        *ret_name = d->flags[i].name;
                }
        }
        if (f->kind == FK_OBJ) return strip(f->sub, get_ptr(p), level, ret_name);
        if (f->kind == FK_LIST) return strip_array(f->sub, get_ptr(p), count_get(o, f), level, ret_name);
        if (f->kind == FK_OMAP) {
                struct objmap *m = p;
                return strip_array(f->sub, m->vals, m->n, level, ret_name);
        }
        return 0;
}

static int strip(const struct type_desc *t, void *o, unsigned level, const char **ret_name)
{
        int err = 0;
        for (unsigned i = 0; i < t->n_fields && err == 0; i++) {
                const struct field_desc *f = &t->fields[i];
                if (!is_present(o, f, i)) continue;
                if (field_since(f) > level) {
                        has_set(o, has_get(o) & ~(UINT64_C(1) << i));
                        *ret_name = f->name;
                } else {
                        err = strip_value(f, o, level, ret_name);
                }
        }
        return err;
}

int obj_strip(const struct type_desc *t, void *o, unsigned level, const char **ret_name)
{
        *ret_name = NULL;
        if (t->since > level) {
                *ret_name = t->name;
                return E_LEVEL;
        }
        return strip(t, o, level, ret_name);
}
