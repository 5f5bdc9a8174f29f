/* Evaluation of operations: from a request to a reply, see op.h. */
#include "controller/op/op.h"

#include "controller/op/op_quorum.h"
#include "state/level.h"
#include "wire/codec/codec.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Large requests (lists of resources, key-value stores) are well below. */
#define OP_ARENA_LIMIT_BYTES ((size_t)1 << 30)

/* ---- entries ---- */

static void *grow(struct arena *a, void *array, uint32_t n, uint32_t *cap, size_t size_bytes)
{
        if (n < *cap) return array;
        *cap = *cap != 0 ? *cap * 2 : 8;
        char *p = arena_alloc(a, *cap * size_bytes);
        if (n != 0) memcpy(p, array, n * size_bytes);
        return p;
}

static struct api_rc *add_rc(struct op *op, enum apirc_code code, unsigned op_bits, unsigned object_bits,
        const char *fmt, va_list args) PRINTF_LIKE(5, 0);
static struct api_rc *add_rc(struct op *op, enum apirc_code code, unsigned op_bits, unsigned object_bits,
        const char *fmt, va_list args)
{
        struct reply *r = op->reply;
        char line[2048];
        int n = vsnprintf(line, sizeof line, fmt, args);
        if (n < 0) line[0] = '\0';
        r->rcs = grow(op->arena, r->rcs, r->rcs_n, &op->rcs_cap, sizeof r->rcs[0]);
        MARK(r, reply, rcs);
        struct api_rc *rc = &r->rcs[r->rcs_n++];
        apirc_init(rc, code, op_bits, object_bits, arena_strdup(op->arena, line), op_now_ms(op), op->arena);
        if (apirc_severity(rc->ret_code) == APIRC_ERROR) op->err = E_INVALID;
        return rc;
}

struct api_rc *op_rc(struct op *op, enum apirc_code code, const char *fmt, ...)
{
        va_list args;
        va_start(args, fmt);
        struct api_rc *rc = add_rc(op, code, op->route->op_bits, op->route->object_bits, fmt, args);
        va_end(args);
        return rc;
}

struct api_rc *op_rc_as(
        struct op *op, enum apirc_code code, unsigned op_bits, unsigned object_bits, const char *fmt, ...)
{
        va_list args;
        va_start(args, fmt);
        struct api_rc *rc = add_rc(op, code, op_bits, object_bits, fmt, args);
        va_end(args);
        return rc;
}

void op_rc_ref(struct op *op, struct api_rc *rc, const char *key, const char *value)
{
        strmap_set(&rc->obj_refs, key, value, op->arena);
        MARK(rc, api_rc, obj_refs);
}

void op_rc_explain(
        struct op *op, struct api_rc *rc, const char *cause, const char *details, const char *correction)
{
        (void)op;
        if (cause != NULL) SET(rc, api_rc, cause, cause);
        if (details != NULL) SET(rc, api_rc, details, details);
        if (correction != NULL) SET(rc, api_rc, correction, correction);
}

/* ---- waiting ---- */

static struct wait_item *add_wait(struct op *op, const char *node_name)
{
        struct reply *r = op->reply;
        r->waits = grow(op->arena, r->waits, r->waits_n, &op->waits_cap, sizeof r->waits[0]);
        MARK(r, reply, waits);
        struct wait_item *w = &r->waits[r->waits_n++];
        *w = (struct wait_item){ 0 };
        SET(w, wait_item, node_name, arena_strdup(op->arena, node_name));
        SET(w, wait_item, revision, op->index);
        return w;
}

void op_wait_rsc(struct op *op, const char *node_name, const char *rsc_name, bool gone)
{
        for (uint32_t i = 0; i < op->reply->waits_n; i++) {
                struct wait_item *w = &op->reply->waits[i];
                if (w->rsc_name != NULL && strcmp(w->rsc_name, rsc_name) == 0 &&
                        strcmp(w->node_name, node_name) == 0 && w->gone == gone)
                        return;
        }
        struct wait_item *w = add_wait(op, node_name);
        SET(w, wait_item, rsc_name, arena_strdup(op->arena, rsc_name));
        if (gone) SET(w, wait_item, gone, true);
}

void op_wait_settled(struct op *op, const char *node_name, const char *rsc_name)
{
        op_wait_rsc(op, node_name, rsc_name, false);
        for (uint32_t i = 0; i < op->reply->waits_n; i++) {
                struct wait_item *w = &op->reply->waits[i];
                if (w->rsc_name != NULL && strcmp(w->rsc_name, rsc_name) == 0 &&
                        strcmp(w->node_name, node_name) == 0 && !w->gone)
                        SET(w, wait_item, settled, true);
        }
}

void op_wait_pool(struct op *op, const char *node_name, const char *pool_name)
{
        struct wait_item *w = add_wait(op, node_name);
        SET(w, wait_item, pool_name, arena_strdup(op->arena, pool_name));
}

/* ---- time and chance ---- */

uint64_t op_random(struct op *op)
{
        struct {
                uint64_t seed, index, count;
        } in = { op->req->seed, op->index, ++op->random_count };
        uint64_t out[2];
        (void)crypto_generichash(
                (unsigned char *)out, sizeof out, (const unsigned char *)&in, sizeof in, NULL, 0);
        return out[0];
}

const char *op_uuid(struct op *op)
{
        uint64_t hi = op_random(op), lo = op_random(op);
        hi = (hi & ~UINT64_C(0xF000)) | 0x4000;
        lo = (lo & (UINT64_MAX >> 2)) | UINT64_C(1) << 63;
        return arena_printf(op->arena, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(hi >> 32),
                (unsigned)(hi >> 16 & 0xFFFF), (unsigned)(hi & 0xFFFF), (unsigned)(lo >> 48),
                (unsigned long long)(lo & 0xFFFFFFFFFFFF));
}

uint64_t op_now_ms(const struct op *op) { return op->req->wall_ms > 0 ? (uint64_t)op->req->wall_ms : 0; }

/* ---- evaluation ---- */

static void decode_body(struct op *op)
{
        const struct type_desc *t = op->route->body_type;
        struct fail f = { 0 };
        int err = 0;
        op->body = arena_alloc(op->arena, t->size);
        op->body_n = 1;
        if (op->route->form == FORM_NONE) return;
        if (op->route->form == FORM_LIST && op->req->body.n != 0)
                err = dec_json_list(t, op->req->body, op->arena, &op->body, &op->body_n, &f);
        else if (op->route->form == FORM_LIST) op->body_n = 0;
        else err = dec_json(t, op->req->body, op->arena, op->body, &f);
        if (err == 0) return;
        struct api_rc *rc = op_rc(op, RC_FAIL_API_CALL_PARSE, "The body of the request cannot be read.");
        op_rc_explain(op, rc, arena_strdup(op->arena, f.text), NULL, NULL);
}

/* A refused operation answers with what is wrong, not with what would have been done. */
static void drop_successes(struct reply *r)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < r->rcs_n; i++) {
                enum apirc_severity s = apirc_severity(r->rcs[i].ret_code);
                if (s == APIRC_ERROR || s == APIRC_WARN) r->rcs[n++] = r->rcs[i];
        }
        r->rcs_n = n;
        r->waits_n = 0;
        UNSET(r, reply, waits);
        UNSET(r, reply, json);
}

/* Entries that decide what clients think come first: errors, then successes, then the rest. */
static void sort_rcs(struct op *op)
{
        struct reply *r = op->reply;
        struct api_rc *out = arena_alloc(op->arena, (r->rcs_n + 1) * sizeof *out);
        uint32_t n = 0;
        for (unsigned pass = 0; pass < 3; pass++)
                for (uint32_t i = 0; i < r->rcs_n; i++) {
                        enum apirc_severity s = apirc_severity(r->rcs[i].ret_code);
                        unsigned rank = s == APIRC_ERROR ? 0 : s == APIRC_WARN ? 2 : 1;
                        if (rank == pass) out[n++] = r->rcs[i];
                }
        r->rcs = out;
}

/* What came after the level of the cluster is not there yet, so that it does not matter which release the leader runs: such
 * operations are refused, such members of a body ignored, as a leader of the release before would. */
static bool fits_level(struct op *op)
{
        unsigned need = route_since(op->route), level;
        const struct type_desc *t = op->route->body_type;
        for (uint32_t i = 0; i < op->body_n; i++)
                need = MAX(need, obj_level(t, (char *)op->body + i * t->size));
        if (need == LEVEL_FIRST || need <= (level = state_level(op->tx, NULL))) return true;
        const char *name = NULL, *left_out = NULL;
        int err = route_since(op->route) > level ? E_LEVEL : 0;
        for (uint32_t i = 0; i < op->body_n && err == 0; i++) {
                err = obj_strip(t, (char *)op->body + i * t->size, level, &name);
                if (name != NULL) left_out = name;
        }
        if (err == 0) {
                struct api_rc *rc = op_rc(op, RC_WARN_NO_EFFECT,
                        "'%s' was ignored: it needs feature level %u, and the cluster is at %u.", left_out,
                        need, level);
                apirc_level(rc);
        } else {
                apirc_level(op_rc(op, RC_FAIL_INVLD_REQUEST,
                        "%s %s needs feature level %u, and the cluster is at %u.", op->req->method,
                        op->req->path, need, level));
        }
        return err == 0;
}

static void run(struct op *op)
{
        struct route_match match;
        struct query query;
        static const struct route unknown = {
                .method = "", .pattern = "", .body_type = &none_type, .status = 404
        };
        op->route = route_find_any(op->req->method, op->req->path, op->arena, &match);
        if (op->route == NULL || op->route->op == NULL) {
                op->route = &unknown;
                op_rc(op, RC_FAIL_API_CALL_UNKNOWN, "There is no operation %s %s.", op->req->method,
                        op->req->path);
                return;
        }
        query_parse(op->req->query, op->arena, &query);
        op->params = match.params;
        op->query = &query;
        decode_body(op);
        if (!op_failed(op) && fits_level(op)) op->route->op(op);
        if (!op_failed(op)) op_settle(op);
        op->params = NULL;
        op->query = NULL;
}

int op_evaluate(void *arg, struct tx *tx, struct blob request, uint64_t index, struct buf *ret_reply)
{
        const struct op_env *env = arg;
        struct arena arena;
        struct request req;
        struct reply reply = { 0 };
        arena_init(&arena, OP_ARENA_LIMIT_BYTES);
        struct op op = {
                .tx = tx, .req = &req, .index = index, .arena = &arena, .reply = &reply, .env = env
        };
        int err = dec_msgpack(&request_type, request, DEC_TOLERANT, &arena, &req, NULL);
        if (err != 0) {
                req = (struct request){ .method = "", .path = "" };
                op.req = &req;
                static const struct route malformed = {
                        .method = "", .pattern = "", .body_type = &none_type
                };
                op.route = &malformed;
                op_rc(&op, RC_FAIL_API_CALL_PARSE, "The request cannot be read.");
        } else {
                op.observed =
                        env != NULL && env->observed_begin != NULL ? env->observed_begin(env->arg) : NULL;
                run(&op);
                if (op.observed != NULL) env->observed_end(env->arg, op.observed);
        }
        if (tx->err != 0 && op.err == 0) /* damage, or a row that is too large */
                op_rc(&op, RC_FAIL_IMPL_ERROR, "The state cannot take this change: %s.", err_text(tx->err));
        if (op.err != 0) drop_successes(&reply);
        sort_rcs(&op);
        unsigned success = op.route->status != 0 ? op.route->status : 200;
        SET(&reply, reply, status, apirc_http_status(reply.rcs, reply.rcs_n, success));
        err = enc_msgpack(&reply_type, &reply, ret_reply);
        if (err == 0) err = op.err;
        if ((op.early || (op.doubtful && op.err != 0)) && tx->err == 0) err = E_BUSY;
        arena_done(&arena);
        return err;
}
