/* The declarations as text, see def_dump.h: one more pass over the files that wire/def/types.h expands. */
#include "tests/lib/def_dump.h"

#include <inttypes.h>

#include "wire/def/types.h"

static const char *const kind_names[] = {
        [FK_BOOL] = "BOOL",
        [FK_I64] = "I64",
        [FK_U64] = "U64",
        [FK_F64] = "F64",
        [FK_STR] = "STR",
        [FK_BIN] = "BIN",
        [FK_ENUM] = "ENUM",
        [FK_FLAGS] = "FLAGS",
        [FK_OBJ] = "OBJ",
        [FK_LIST] = "LIST",
        [FK_STRS] = "STRS",
        [FK_U64S] = "U64S",
        [FK_MAP] = "MAP",
        [FK_IMAP] = "IMAP",
        [FK_OMAP] = "OMAP",
};

static void put_kind(const struct field_desc *f, struct buf *out)
{
        buf_put_str(out, kind_names[f->kind]);
        if (f->kind == FK_ENUM) buf_printf(out, ":%s", ((const struct enum_desc *)f->sub)->name);
        else if (f->kind == FK_FLAGS) buf_printf(out, ":%s", ((const struct flags_desc *)f->sub)->name);
        else if (f->sub != NULL) buf_printf(out, ":%s", ((const struct type_desc *)f->sub)->ident);
}

static void put_flags(unsigned flags, struct buf *out)
{
        static const char *const names[] = { "KEY", "REQ", "SECRET", "ALWAYS", "NOCASE", "OBSERVED",
                "INTERNAL" };
        for (unsigned i = 0; i < ARRAY_LEN(names); i++)
                if (flags >> i & 1) buf_printf(out, " %s", names[i]);
}

static void put_type(const struct type_desc *t, bool tags_only, struct buf *out)
{
        buf_printf(out, "type %s %u %s", t->ident, t->id, t->name);
        if (!tags_only) buf_printf(out, " (%u bytes): %s", t->size, t->doc);
        buf_put_str(out, "\n");
        for (unsigned i = 0; i < t->n_fields; i++) {
                const struct field_desc *f = &t->fields[i];
                buf_printf(out, "field %s %u ", t->ident, f->tag);
                put_kind(f, out);
                buf_printf(out, " %s", f->name);
                if (!tags_only) {
                        put_flags(f->flags, out);
                        buf_printf(out, ": %s", f->doc);
                }
                buf_put_str(out, "\n");
        }
}

static void put_enum(const struct enum_desc *e, struct buf *out)
{
        for (uint32_t i = 0; i < e->n; i++) buf_printf(out, "enum %s %u %s\n", e->name, i, e->names[i]);
}

static void put_flag_set(const struct flags_desc *d, struct buf *out)
{
        for (uint32_t i = 0; i < d->n; i++)
                buf_printf(out, "flag %s %" PRIu64 " %s\n", d->name, d->flags[i].bits, d->flags[i].name);
}

/* Descriptors do not know of reserved tags, nor is there a table of enums: the passes tell. */
static void put_rest(struct buf *out)
{
#define EBEGIN put_enum(&XCAT(T, _enum), out);
#define E(ident)
#define ENAMED(ident, json)
#define ESINCE(level, ident, json)
#define EEND
#define FBEGIN put_flag_set(&XCAT(T, _flags), out);
#define F(ident, bits)
#define FSINCE(level, ident, bits)
#define FEND
#include ENUMS_DEF
#include "wire/def/undef_pass.h"

#define TYPE_(since_, type_id, json, doc)
#define FIELD_(tag, kind, decl, m, off_n, json, fl, sub, doc)
#define RESERVED(tag) buf_printf(out, "field %s %d RESERVED\n", XSTR(T), (tag));
#define END
#include "wire/def/fields_pass.h"
#include TYPES_DEF
#include "wire/def/undef_pass.h"
}

static void dump(bool tags_only, struct buf *out)
{
        for (uint32_t i = 0; i < types_n; i++) put_type(types_all[i], tags_only, out);
        put_rest(out);
}

void def_dump_tags(struct buf *out) { dump(true, out); }

void def_dump_all(struct buf *out) { dump(false, out); }

/* ---- comparing ---- */

/* Is the line (n bytes) one of the lines of text? */
static bool has_line(const char *text, const char *line, size_t n)
{
        for (const char *s = text; s != NULL; s = strchr(s, '\n')) {
                if (*s == '\n') s++;
                if (strncmp(s, line, n) == 0 && (s[n] == '\n' || s[n] == '\0')) return true;
        }
        return false;
}

/* "field TYPE TAG" of a line, with RESERVED behind it. */
static bool is_reserved(const char *text, const char *line, size_t n)
{
        char want[256];
        size_t at = 0;
        for (unsigned blanks = 0; at < n && at < sizeof want - 16; at++) {
                if (line[at] == ' ' && ++blanks == 3) break;
                want[at] = line[at];
        }
        if (strncmp(line, "field ", 6) != 0) return false;
        (void)snprintf(want + at, sizeof want - at, " RESERVED");
        return has_line(text, want, strlen(want));
}

static unsigned lines_missing(const char *from, const char *in, bool reserved_is_fine, const char *what,
        unsigned said, struct buf *out)
{
        unsigned missing = 0;
        while (*from != '\0') {
                size_t n = strcspn(from, "\n");
                bool found =
                        n == 0 || has_line(in, from, n) || (reserved_is_fine && is_reserved(in, from, n));
                if (!found && said + missing++ < 10) buf_printf(out, "%s: %.*s\n", what, (int)n, from);
                from += n + (from[n] == '\n');
        }
        return missing;
}

unsigned def_tags_compare(const char *golden, const char *now, bool is_complete, struct buf *out)
{
        unsigned n = lines_missing(golden, now, true, "changed or removed", 0, out);
        if (is_complete) n += lines_missing(now, golden, false, "not in tests/golden/tags.txt", n, out);
        return n;
}
