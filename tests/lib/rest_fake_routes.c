/* Echoes in place of every operation and view of the route table. */
#include "controller/view/view.h"
#include "wire/codec/codec.h"

#define READ(id, ...) \
        void view_##id(struct view *v) {}
#define WRITE(id, ...) \
        void op_##id(struct op *op) {}
#define LOCAL(...)
#define LACKS(...)
#include "wire/def/route.def"
#undef READ
#undef WRITE
#undef LOCAL
#undef LACKS

void view_lacks(struct view *v) {}

/* {"route", "params": [...], "size": bytes of the body}; ?fill=N makes the answer about N bytes longer. */
void view_run(struct view *v, struct blob body)
{
        buf_put_str(v->out, "{\"route\":");
        enc_json_str(v->route->name, v->out);
        buf_put_str(v->out, ",\"params\":[");
        for (unsigned i = 0; v->params[i]; i++) {
                if (i) buf_put_u8(v->out, ',');
                enc_json_str(v->params[i], v->out);
        }
        buf_printf(v->out, "],\"size\":%zu,\"fill\":\"", body.n);
        for (uint64_t n = query_u64(v->query, "fill"); n > 0; n--)
                buf_put_u8(v->out, 'a' + (unsigned)(n % 7));
        buf_put_str(v->out, "\"}");
        if (query_get(v->query, "fake_damage")) v->tx->err = E_CORRUPT;
        v->status = v->route->status;
}
