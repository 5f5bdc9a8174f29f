#include "controller/op/reconcile.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "controller/op/auto_snap.h"
#include "controller/op/disk_pool.h"
#include "controller/op/op.h"
#include "controller/op/reconcile_internal.h"
#include "controller/op/resync.h"
#include "controller/op/saga.h"
#include "controller/op/ship.h"
#include "controller/op/tend.h"
#include "state/overlay.h"

#define TRIAL_INDEX (UINT64_C(1) << 62) /* is written nowhere */

/* The id follows from kind and subject. */
static void derive_id(uint8_t id[REQUEST_ID_SIZE], const char *kind, const char *subject, const char *more)
{
        crypto_generichash_state h;
        crypto_generichash_init(&h, NULL, 0, REQUEST_ID_SIZE);
        crypto_generichash_update(&h, (const uint8_t *)kind, strlen(kind) + 1);
        crypto_generichash_update(&h, (const uint8_t *)subject, strlen(subject) + 1);
        crypto_generichash_update(&h, (const uint8_t *)more, strlen(more) + 1);
        crypto_generichash_final(&h, id, REQUEST_ID_SIZE);
}

void reconcile_propose(struct look *l, const char *path, const struct type_desc *t, const void *body,
        const char *kind, const char *subject, const char *more)
{
        struct buf json = { 0 };
        if (l->n >= RECONCILE_MAX) return;
        struct reconcile_action *x = &l->actions[l->n];
        enc_json(t, body, JSON_DUMP, &json);
        uint8_t *copy = json.err == 0 ? arena_try(l->arena, json.n == 0 ? 1 : json.n) : NULL;
        if (copy == NULL) {
                if (l->err == 0) l->err = json.err != 0 ? json.err : E_LIMIT;
                buf_done(&json);
                return;
        }
        memcpy(copy, json.p, json.n);
        *x = (struct reconcile_action){ 0 };
        derive_id(x->id, kind, subject, more);
        uint64_t seed;
        memcpy(&seed, x->id, sizeof seed);
        SET(&x->request, request, method, "POST");
        SET(&x->request, request, path, path);
        SET(&x->request, request, body, BLOB(copy, json.n));
        SET(&x->request, request, wall_ms, l->args->wall_ms);
        SET(&x->request, request, seed, seed);
        SET(&x->request, request, member, l->args->member);
        l->n++;
        buf_done(&json);
}

/* ---- proposals that would do something ---- */

static struct tx *observed_of(void *arg)
{
        const struct look *l = arg;
        return l->args->observed;
}

static void observed_stays(void *arg, struct tx *tx)
{
        (void)arg;
        (void)tx;
}

static bool would_write(struct look *l, const struct request *r)
{
        struct op_env env = { .observed_begin = observed_of, .observed_end = observed_stays, .arg = l };
        struct buf in = { 0 }, reply = { 0 };
        struct overlay *o = overlay_new(l->args->wanted);
        int err = enc_msgpack(&request_type, r, &in);
        if (err == 0) err = op_evaluate(&env, overlay_tx(o), buf_blob(&in), TRIAL_INDEX, &reply);
        bool writes = err == 0 && overlay_tx(o)->err == 0 && overlay_count(o) > 0;
        overlay_free(o);
        buf_done(&in);
        buf_done(&reply);
        return writes;
}

void reconcile_propose_effective(struct look *l, const char *path, const struct type_desc *t,
        const void *body, const char *kind, const char *subject, const char *more)
{
        uint32_t n = l->n;
        reconcile_propose(l, path, t, body, kind, subject, more);
        if (l->n > n && !would_write(l, &l->actions[n].request)) l->n = n;
}

/* ---- since when something is known ---- */

int64_t reconcile_known_ms(struct look *l, const char *kind, const char *subject, const char *more)
{
        struct reconcile_known *k = l->args->known;
        uint8_t id[REQUEST_ID_SIZE];
        uint64_t what;
        if (k == NULL) return 0;
        derive_id(id, kind, subject, more);
        memcpy(&what, id, sizeof what);
        for (uint32_t i = 0; i < k->n; i++) {
                if (k->list[i].what != what) continue;
                k->list[i].still = true;
                return l->args->mono_ms - k->list[i].since_ms;
        }
        if (k->n == RECONCILE_KNOWN_MAX) return 0;
        k->list[k->n].what = what;
        k->list[k->n].since_ms = l->args->mono_ms;
        k->list[k->n++].still = true;
        return 0;
}

/* Nobody asked for the others: they are over. A look that ended early has not asked for all. */
static void forget_known(struct look *l)
{
        struct reconcile_known *k = l->args->known;
        uint32_t n = 0;
        for (uint32_t i = 0; k != NULL && i < k->n; i++)
                if (k->list[i].still || !look_goes_on(l)) k->list[n++] = k->list[i];
        if (k == NULL) return;
        k->n = n;
        for (uint32_t i = 0; i < n; i++) k->list[i].still = false;
}

/* ---- tombstones of which nothing is left ---- */

static bool has_uuid(const struct obs_rsc *r, const char *uuid)
{
        if (r->gone && r->uuid != NULL && strcmp(r->uuid, uuid) == 0) return true;
        for (uint32_t i = 0; i < r->gone_uuids_n; i++)
                if (strcmp(r->gone_uuids[i], uuid) == 0) return true;
        return false;
}

static void look_tombstones(struct look *l)
{
        struct row_scan s;
        struct tombstone t;
        row_scan_open(&s, l->args->wanted, &tombstone_type, NULL, 0);
        while (l->n < RECONCILE_MAX && l->err == 0 && row_scan_next(&s, l->arena, &t)) {
                struct obs_rsc r, key = { .node_name = t.node_name, .rsc_name = t.rsc_name };
                if (row_get(l->args->observed, &obs_rsc_type, &key, l->arena, &r) != 0) continue;
                if (t.uuid == NULL || !has_uuid(&r, t.uuid)) continue;
                const char *uuids[] = { t.uuid };
                struct satellite_confirm body = { 0 };
                SET(&body, satellite_confirm, node_name, t.node_name);
                SET_N(&body, satellite_confirm, uuids, uuids, 1);
                reconcile_propose(l, "/internal/satellite-confirm", &satellite_confirm_type, &body, "confirm",
                        t.node_name, t.uuid);
        }
        row_scan_close(&s);
}

/* ---- error reports that satellites sent ---- */

static void look_reports(struct look *l)
{
        struct row_scan s;
        struct error_report r;
        row_scan_open(&s, l->args->observed, &error_report_type, NULL, 0);
        while (l->n < RECONCILE_MAX && l->err == 0 && row_scan_next(&s, l->arena, &r)) {
                if (row_exists(l->args->wanted, &error_report_type, &r)) continue;
                struct error_reports_body body = { 0 };
                SET_N(&body, error_reports_body, reports, &r, 1);
                reconcile_propose(l, "/internal/error-report", &error_reports_body_type, &body, "report",
                        r.filename, "");
        }
        row_scan_close(&s);
}

/* ---- sagas whose phase is over ---- */

static void look_sagas(struct look *l)
{
        struct row_scan s;
        struct saga g;
        row_scan_open(&s, l->args->wanted, &saga_type, NULL, 0);
        while (l->n < RECONCILE_MAX && l->err == 0 && row_scan_next(&s, l->arena, &g)) {
                char phase[16];
                snprintf(phase, sizeof phase, "%u", (unsigned)g.phase);
                struct saga_view v = { .wanted = l->args->wanted,
                        .observed = l->args->observed,
                        .known_ms = reconcile_known_ms(l, "saga", g.uuid, phase),
                        .arena = l->arena };
                const char *reason = NULL;
                enum saga_verdict verdict = saga_look(&v, &g, &reason);
                if (verdict == SAGA_WAIT) continue;
                struct saga_step body = { 0 };
                SET(&body, saga_step, uuid, g.uuid);
                SET(&body, saga_step, phase, (int64_t)g.phase);
                if (verdict == SAGA_FAILS) {
                        SET(&body, saga_step, failed, true);
                        SET(&body, saga_step, reason, reason != NULL ? reason : "");
                }
                reconcile_propose(l, "/internal/saga-step", &saga_step_type, &body, "saga", g.uuid, phase);
        }
        row_scan_close(&s);
}

int reconcile_look(
        const struct reconcile_args *args, struct arena *a, struct reconcile_action **ret, uint32_t *ret_n)
{
        struct look l = { .args = args, .arena = a };
        *ret_n = 0;
        l.actions = arena_array(a, struct reconcile_action, RECONCILE_MAX);
        if (l.actions == NULL) return E_LIMIT;
        look_sagas(&l);
        auto_snap_look(&l);
        disk_pools_look(&l);
        ship_look(&l);
        tend_busy(&l);
        tend_nodes(&l);
        if (args->sweep != NULL) tend_sweep(&l);
        if (args->sweep != NULL) resync_look(&l);
        look_tombstones(&l);
        look_reports(&l);
        forget_known(&l);
        *ret = l.actions;
        *ret_n = l.n;
        if (l.err != 0) return l.err;
        return args->wanted->err != 0 ? args->wanted->err : args->observed->err;
}

int reconcile_tidy(struct tx *wanted, struct tx *observed, struct arena *a, uint32_t *ret_n)
{
        struct row_scan s;
        struct error_report r;
        *ret_n = 0;
        row_scan_open(&s, observed, &error_report_type, NULL, 0);
        while (row_scan_next(&s, a, &r)) {
                if (!row_exists(wanted, &error_report_type, &r)) continue;
                row_del(observed, &error_report_type, &r);
                ++*ret_n;
        }
        row_scan_close(&s);
        return wanted->err != 0 ? wanted->err : observed->err;
}
