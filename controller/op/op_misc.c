/* Controller properties, key-value store, error reports. */
#include <string.h>

#include "controller/op/auto_snap.h"
#include "controller/op/op_quorum.h"

/* ---- controller properties ---- */

static bool modify_ctrl(struct op *op, const struct prop_mod *mod)
{
        struct ctrl_props *c = arena_new(op->arena, struct ctrl_props);
        if (row_get_single(op->tx, &ctrl_props_type, op->arena, c) != 0) return false;
        if (!op_props_modify(op, PS_C, &c->props, mod, NULL)) return false;
        MARK(c, ctrl_props, props);
        row_put(op->tx, &ctrl_props_type, c);
        op_settle_group(op, NULL, mod);
        op_auto_snap_touch_group(op, NULL, mod);
        return true;
}

void op_ctrl_props_modify(struct op *op)
{
        if (modify_ctrl(op, OP_BODY(op, prop_mod)) && op->reply->rcs_n == 0)
                op_rc(op, RC_MODIFIED, "The controller's properties are as they were.");
}

void op_ctrl_prop_delete(struct op *op)
{
        const char *keys[] = { op->params[0] };
        struct prop_mod mod = { .delete_props = keys, .delete_props_n = 1 };
        if (modify_ctrl(op, &mod) && op->reply->rcs_n == 0)
                op_rc(op, RC_WARN_NOT_FOUND, "The controller has no property '%s'.", op->params[0]);
}

/* ---- key-value store ---- */

void op_kvs_modify(struct op *op)
{
        const char *why = name_check(NAME_KVS, op->params[0]);
        struct kvs k = { 0 };
        if (why != NULL) {
                op_rc(op, RC_FAIL_INVLD_KVS_NAME, "'%.64s' is not a name of a key-value store: %s.",
                        op->params[0], why);
                return;
        }
        SET(&k, kvs, name, op->params[0]);
        if (row_get(op->tx, &kvs_type, &k, op->arena, &k) != 0) k.props.n = 0;
        if (!op_props_modify(op, PS_KVS, &k.props, OP_BODY(op, prop_mod), NULL)) return;
        MARK(&k, kvs, props);
        if (k.props.n == 0) (void)row_del(op->tx, &kvs_type, &k);
        else row_put(op->tx, &kvs_type, &k);
        struct api_rc *rc = op_rc(op, RC_MODIFIED, "Key-value store '%s' modified.", k.name);
        op_rc_ref(op, rc, "KVS", k.name);
}

void op_kvs_delete(struct op *op)
{
        struct kvs k = { .name = op->params[0] };
        struct api_rc *rc =
                row_del(op->tx, &kvs_type, &k) == 0
                        ? op_rc(op, RC_DELETED, "Key-value store '%s' deleted.", op->params[0])
                        : op_rc(op, RC_WARN_NOT_FOUND, "There is no key-value store '%s'.", op->params[0]);
        op_rc_ref(op, rc, "KVS", op->params[0]);
}

/* ---- error reports ---- */

/* The table keeps that many; the oldest go first. */
#define REPORTS_MAX 1000

/* Names begin with the time, so key order is age. */
static void drop_oldest(struct op *op, uint32_t room)
{
        uint64_t have = row_count(op->tx, &error_report_type, &(struct error_report){ 0 }, 0);
        struct error_report r = { 0 };
        struct row_scan s;
        row_scan_open(&s, op->tx, &error_report_type, &r, 0);
        for (; have + room > REPORTS_MAX && row_scan_next(&s, op->arena, &r); have--)
                (void)row_del(op->tx, &error_report_type, &r);
        row_scan_close(&s);
}

static const char *report_name(struct op *op, const struct error_report *r)
{
        struct report_counter c = { 0 };
        uint32_t hash = 0;
        (void)row_get_single(op->tx, &report_counter_type, op->arena, &c);
        for (const char *p = op_text(r->node_name); *p != '\0'; p++) hash = hash * 31 + (uint8_t)*p;
        const char *name = arena_printf(op->arena, "ErrorReport-%08X-%05X-%06llu",
                (unsigned)(op_now_ms(op) / 1000), hash & 0xFFFFF, (unsigned long long)(c.next % 1000000));
        SET(&c, report_counter, next, c.next + 1);
        row_put(op->tx, &report_counter_type, &c);
        return name;
}

static void keep_report(struct op *op, struct error_report *r)
{
        if (!op_given(r->filename) || strlen(r->filename) > 128)
                SET(r, error_report, filename, report_name(op, r));
        if (!HAS(r, error_report, error_time)) SET(r, error_report, error_time, op->req->wall_ms);
        row_put(op->tx, &error_report_type, r);
}

void op_report(struct op *op, const char *exception, const char *message)
{
        struct error_report r = { 0 };
        drop_oldest(op, 1);
        SET(&r, error_report, node_name, "Controller");
        SET(&r, error_report, module, "CONTROLLER");
        SET(&r, error_report, exception, exception);
        SET(&r, error_report, exception_message, message);
        SET(&r, error_report, text, message);
        keep_report(op, &r);
}

void op_int_error_report(struct op *op)
{
        const struct error_reports_body *b = OP_BODY(op, error_reports_body);
        uint32_t n = MIN(b->reports_n, REPORTS_MAX);
        drop_oldest(op, n);
        for (uint32_t i = 0; i < n; i++) {
                struct error_report r = b->reports[i];
                keep_report(op, &r);
        }
        op_rc(op, RC_CREATED, "%u error reports kept.", n);
}

void op_report_delete(struct op *op)
{
        struct error_report r = { .filename = op->params[0] };
        if (row_del(op->tx, &error_report_type, &r) == 0)
                op_rc(op, RC_DELETED, "Error report '%s' deleted.", op->params[0]);
        else op_rc(op, RC_WARN_NOT_FOUND, "There is no error report '%s'.", op->params[0]);
}

static bool report_matches(const struct error_report_delete_body *b, const struct error_report *r)
{
        if (HAS(b, error_report_delete_body, since) && r->error_time < b->since) return false;
        if (HAS(b, error_report_delete_body, to) && r->error_time > b->to) return false;
        if (b->nodes_n != 0 && !op_in_list(op_text(r->node_name), b->nodes, b->nodes_n)) return false;
        if (b->ids_n != 0 && !op_in_list(r->filename, b->ids, b->ids_n)) return false;
        if (op_given(b->exception) && !op_same(b->exception, op_text(r->exception))) return false;
        return !op_given(b->version) || op_same(b->version, op_text(r->version));
}

void op_report_delete_many(struct op *op)
{
        const struct error_report_delete_body *b = OP_BODY(op, error_report_delete_body);
        struct error_report r = { 0 };
        struct row_scan s;
        uint32_t n = 0;
        if (b->has == 0) {
                op_rc(op, RC_FAIL_INVLD_REQUEST, "At least one filter is needed to delete error reports.");
                return;
        }
        row_scan_open(&s, op->tx, &error_report_type, &r, 0);
        while (row_scan_next(&s, op->arena, &r)) {
                if (!report_matches(b, &r)) continue;
                (void)row_del(op->tx, &error_report_type, &r);
                n++;
        }
        row_scan_close(&s);
        op_rc(op, RC_DELETED, "%u error reports deleted.", n);
}
