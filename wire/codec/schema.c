/* JSON schemas in the dialect of OpenAPI 3.0, see codec.h. */
#include <stdio.h>

#include "wire/codec/access.h"

static void put_ref(struct buf *out, const struct type_desc *t)
{
        buf_put_str(out, "{\"$ref\":");
        char ref[160];
        (void)snprintf(ref, sizeof ref, "#/components/schemas/%s", t->name);
        enc_json_str(ref, out);
        buf_put_str(out, "}");
}

static void put_enum_names(struct buf *out, const struct enum_desc *e)
{
        for (uint32_t i = 0; i < e->n; i++) {
                if (i > 0) buf_put_str(out, ",");
                enc_json_str(e->names[i], out);
        }
}

static void put_flag_names(struct buf *out, const struct flags_desc *d)
{
        for (uint32_t i = 0; i < d->n; i++) {
                if (i > 0) buf_put_str(out, ",");
                enc_json_str(d->flags[i].name, out);
        }
}

/* The members of a field's schema that say its type; the caller has written the opening brace. */
static void put_type(struct buf *out, const struct field_desc *f)
{
        switch ((enum field_kind)f->kind) {
        case FK_BOOL: buf_put_str(out, "\"type\":\"boolean\""); break;
        case FK_I64: buf_put_str(out, "\"type\":\"integer\",\"format\":\"int64\""); break;
        case FK_U64: buf_put_str(out, "\"type\":\"integer\",\"format\":\"int64\",\"minimum\":0"); break;
        case FK_F64: buf_put_str(out, "\"type\":\"number\",\"format\":\"double\""); break;
        case FK_STR: buf_put_str(out, "\"type\":\"string\""); break;
        case FK_BIN: buf_put_str(out, "\"type\":\"string\",\"format\":\"byte\""); break;
        case FK_ENUM:
                buf_put_str(out, "\"type\":\"string\",\"enum\":[");
                put_enum_names(out, f->sub);
                buf_put_str(out, "]");
                break;
        case FK_FLAGS:
                buf_put_str(out, "\"type\":\"array\",\"items\":{\"type\":\"string\",\"enum\":[");
                put_flag_names(out, f->sub);
                buf_put_str(out, "]}");
                break;
        case FK_OBJ: /* a reference may have no siblings */
                buf_put_str(out, "\"allOf\":[");
                put_ref(out, f->sub);
                buf_put_str(out, "]");
                break;
        case FK_LIST:
                buf_put_str(out, "\"type\":\"array\",\"items\":");
                put_ref(out, f->sub);
                break;
        case FK_STRS: buf_put_str(out, "\"type\":\"array\",\"items\":{\"type\":\"string\"}"); break;
        case FK_U64S:
                buf_put_str(out, "\"type\":\"array\",\"items\":{\"type\":\"integer\",\"format\":\"int64\"}");
                break;
        case FK_MAP:
                buf_put_str(out, "\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}");
                break;
        case FK_IMAP:
                buf_put_str(out, "\"type\":\"object\",\"additionalProperties\":"
                                 "{\"type\":\"integer\",\"format\":\"int64\"}");
                break;
        case FK_OMAP:
                buf_put_str(out, "\"type\":\"object\",\"additionalProperties\":");
                put_ref(out, f->sub);
                break;
        }
}

static void put_property(struct buf *out, const struct field_desc *f)
{
        enc_json_str(f->name, out);
        buf_put_str(out, ":{");
        put_type(out, f);
        if (f->flags & FF_OBSERVED) buf_put_str(out, ",\"readOnly\":true");
        if (f->flags & FF_SECRET) buf_put_str(out, ",\"writeOnly\":true");
        if (f->doc != NULL && f->doc[0] != '\0') {
                buf_put_str(out, ",\"description\":");
                enc_json_str(f->doc, out);
        }
        buf_put_str(out, "}");
}

void enc_schema(const struct type_desc *t, struct buf *out)
{
        if (is_bare(t)) {
                buf_put_str(out, "{");
                put_type(out, &t->fields[0]);
                buf_put_str(out, "}");
                return;
        }
        buf_put_str(out, "{\"type\":\"object\",\"description\":");
        enc_json_str(t->doc, out);
        buf_put_str(out, ",\"properties\":{");
        const char *comma = "";
        for (unsigned i = 0; i < t->n_fields; i++) {
                if (t->fields[i].flags & FF_INTERNAL) continue;
                buf_put_str(out, comma);
                put_property(out, &t->fields[i]);
                comma = ",";
        }
        buf_put_str(out, "}");
        comma = ",\"required\":[";
        for (unsigned i = 0; i < t->n_fields; i++) {
                if ((t->fields[i].flags & (FF_REQ | FF_INTERNAL | FF_OBSERVED)) != FF_REQ) continue;
                buf_put_str(out, comma);
                enc_json_str(t->fields[i].name, out);
                comma = ",";
        }
        if (strcmp(comma, ",") == 0) buf_put_str(out, "]");
        buf_put_str(out, "}");
}
