#include "controller/op/ship.h"

#include <stdio.h>
#include <string.h>

#include "controller/base/observed_rows.h"
#include "controller/op/op_backup.h"
#include "controller/op/saga.h"

/* ---- looking ---- */

static const struct obs_ship *seen(struct look *l, const struct ship *s, struct obs_ships *ret)
{
        struct obs_ships key = { .node_name = s->node_name };
        if (row_get(l->args->observed, &obs_ships_type, &key, l->arena, ret) != 0) return NULL;
        for (uint32_t i = 0; i < ret->ships_n; i++)
                if (strcmp(ret->ships[i].uuid, s->uuid) == 0) return &ret->ships[i];
        return NULL;
}

static bool find_dfn(struct look *l, const struct ship *s, struct snap_dfn *ret)
{
        struct snap_dfn key = { .rsc_name = s->rsc_name, .snap_name = s->snap_name };
        return row_get(l->args->wanted, &snap_dfn_type, &key, l->arena, ret) == 0 && ret->uuid != NULL &&
               strcmp(ret->uuid, s->snap_uuid) == 0;
}

/* For how long the leader has known that it is in this phase and round: nobody sets that clock, and a new leader begins anew. Asked in
 * each look, for what is not asked for is forgotten. */
static int64_t phase_ms(struct look *l, const struct ship *s)
{
        return reconcile_known_ms(l, "ship", s->uuid,
                arena_printf(l->arena, "%u %lld", (unsigned)s->phase, (long long)s->round));
}

/* Nothing is heard of it: why it fails, or NULL. */
static const char *silence(struct look *l, const struct ship *s, bool is_known, int64_t known_ms)
{
        struct obs_node n;
        if (observed_node_get(l->args->observed, s->node_name, l->arena, &n) != 0) return NULL;
        if (n.connection_status == conn_status_OFFLINE && HAS(&n, obs_node, since_mono_ms) &&
                l->args->mono_ms - n.since_mono_ms > SHIP_AWAY_MS && known_ms > SHIP_AWAY_MS)
                return arena_printf(l->arena, "The connection to node '%s' was lost.", s->node_name);
        if (!is_known && known_ms > SHIP_IDLE_MS)
                return arena_printf(l->arena,
                        "Node '%s' has not begun: it is not connected, or the cluster is locked.",
                        s->node_name);
        return NULL;
}

static bool is_over(struct look *l, const struct ship *s, const char **why, bool *again)
{
        struct snap_dfn d;
        struct obs_ships o;
        int64_t known_ms = phase_ms(l, s);
        if (!ship_is_live(s)) return known_ms > SHIP_FAILED_MS;
        if (!find_dfn(l, s, &d)) *why = "Its snapshot was not taken, or is gone.";
        if (*why != NULL) return true;
        if (s->phase == ship_phase_WAIT) return (d.flags & snap_dfn_flag_SUCCESSFUL) != 0 && d.saga == NULL;
        const struct obs_ship *x = seen(l, s, &o);
        *why = silence(l, s, x != NULL, known_ms);
        if (*why != NULL) return true;
        if (x == NULL || s->phase == ship_phase_ASK || x->state == sat_step_state_PENDING) return false;
        if (x->round != s->round) return false; /* what it says is about an earlier attempt */
        if (x->state == sat_step_state_FAILED)
                *why = x->text != NULL ? x->text : "The node could not carry it out.";
        *again = s->kind == ship_kind_SEND && x->lost && s->round < SHIP_ROUNDS;
        return true;
}

void ship_look(struct look *l)
{
        struct row_scan s;
        struct ship x;
        row_scan_open(&s, l->args->wanted, &ship_type, NULL, 0);
        while (look_goes_on(l) && row_scan_next(&s, l->arena, &x)) {
                const char *why = NULL;
                bool again = false;
                char phase[48];
                if (!is_over(l, &x, &why, &again)) continue;
                struct ship_step body = { 0 };
                SET(&body, ship_step, uuid, x.uuid);
                SET(&body, ship_step, phase, (int64_t)x.phase);
                SET(&body, ship_step, round, x.round);
                if (again) SET(&body, ship_step, again, true);
                else if (why != NULL) {
                        SET(&body, ship_step, failed, true);
                        SET(&body, ship_step, reason, why);
                }
                snprintf(phase, sizeof phase, "%u %lld", (unsigned)x.phase, (long long)x.round);
                reconcile_propose(l, "/internal/ship-step", &ship_step_type, &body, "ship", x.uuid, phase);
        }
        row_scan_close(&s);
}

/* ---- operations ---- */

static bool find(
        struct op *op, bool (*fits)(const struct ship *s, const void *arg), const void *arg, struct ship *ret)
{
        struct row_scan s;
        bool found = false;
        row_scan_open(&s, op->tx, &ship_type, NULL, 0);
        while (!found && row_scan_next(&s, op->arena, ret)) found = ship_is_live(ret) && fits(ret, arg);
        row_scan_close(&s);
        return found;
}

static bool fits_snap(const struct ship *s, const void *arg)
{
        const struct snap_dfn *d = arg;
        return op_same(s->rsc_name, d->rsc_name) &&
               (d->snap_name == NULL || op_same(s->snap_name, d->snap_name) ||
                       (s->base_snap != NULL && op_same(s->base_snap, d->snap_name)));
}

static bool fits_remote(const struct ship *s, const void *arg) { return op_same(s->remote_name, arg); }

bool op_ship_has(struct op *op, const char *rsc, const char *snap)
{
        struct snap_dfn d = { .rsc_name = rsc, .snap_name = snap };
        struct ship s;
        return find(op, fits_snap, &d, &s);
}

bool op_ship_busy(struct op *op, const char *rsc, const char *snap)
{
        struct snap_dfn d = { .rsc_name = rsc, .snap_name = snap };
        struct ship s;
        if (!find(op, fits_snap, &d, &s)) return false;
        struct api_rc *rc = op_rc(op, RC_FAIL_IN_USE, "Snapshot '%s' of resource '%s' is being shipped.",
                s.snap_name, s.rsc_name);
        op_rc_explain(
                op, rc, NULL, NULL, "Wait until that has ended, or stop it with 'outrigger backup abort'.");
        return true;
}

bool op_ship_uses(struct op *op, const char *remote)
{
        struct ship s;
        return find(op, fits_remote, remote, &s);
}

void op_ship_touch(struct op *op, const struct ship *s)
{
        struct snap x;
        if (!op_find_snap(op, s->rsc_name, s->snap_name, s->node_name, &x)) return;
        SET(&x, snap, revision, op->index);
        row_put(op->tx, &snap_type, &x);
}

void op_ship_undo(struct op *op, const struct ship *s)
{
        struct snap_dfn d, key = { .rsc_name = s->rsc_name };
        struct rsc rkey = { .rsc_name = s->rsc_name };
        struct rsc_dfn rd;
        if (!ship_is_incoming(s)) return;
        if (op_find_snap_dfn(op, s->rsc_name, s->snap_name, &d) && strcmp(d.uuid, s->snap_uuid) == 0)
                op_bury_snap(op, &d, NULL);
        if (!HAS(s, ship, made_rd) || !s->made_rd || !op_find_rd(op, s->rsc_name, &rd)) return;
        if (row_count(op->tx, &rsc_type, &rkey, 1) == 0 && row_count(op->tx, &snap_dfn_type, &key, 1) == 0)
                op_remove_rd(op, &rd);
}

static bool remote_goes(struct op *op, const struct ship *s, struct remote *ret)
{
        struct remote key = { .name = s->remote_name };
        return row_get(op->tx, &remote_type, &key, op->arena, ret) == 0 &&
               (ret->flags & remote_flag_MARK_DELETED) != 0;
}

void op_ship_drop(struct op *op, const struct ship *s)
{
        struct remote r;
        struct row_scan scan;
        struct ship x;
        bool used = false;
        (void)row_del(op->tx, &ship_type, s);
        if (!remote_goes(op, s, &r)) return;
        row_scan_open(&scan, op->tx, &ship_type, NULL, 0);
        while (!used && row_scan_next(&scan, op->arena, &x)) used = op_same(x.remote_name, r.name);
        row_scan_close(&scan);
        if (!used) (void)row_del(op->tx, &remote_type, &r);
}

void op_ship_sent(struct op *op, struct ship *s)
{
        struct remote r;
        if (!remote_goes(op, s, &r)) {
                op_ship_enter(op, s, ship_phase_DONE);
                return;
        }
        op_ship_touch(op, s);
        op_ship_drop(op, s);
}

void op_ship_enter(struct op *op, struct ship *s, enum ship_phase phase)
{
        SET(s, ship, phase, phase);
        SET(s, ship, since_ms, op->req->wall_ms);
        row_put(op->tx, &ship_type, s);
        op_ship_touch(op, s);
}

const char *ship_word(const struct ship *s)
{
        static const char *const words[] = { [ship_kind_UPLOAD] = "Backup",
                [ship_kind_DOWNLOAD] = "Restoration",
                [ship_kind_SEND] = "Shipping",
                [ship_kind_RECEIVE] = "Receiving" };
        return words[s->kind];
}

void op_ship_fail(struct op *op, struct ship *s, const char *why)
{
        op_ship_touch(op, s);
        SET(s, ship, reason, why);
        op_ship_undo(op, s);
        op_ship_enter(op, s, ship_phase_FAILED);
        op_report(op, "BackupException",
                arena_printf(op->arena, "%s of snapshot '%s' of resource '%s' (remote '%s'): %s",
                        ship_word(s), s->snap_name, s->rsc_name, s->remote_name, why));
}

/* The snapshot is whole now, and the resource is made of it. */
static void end_download(struct op *op, struct ship *s)
{
        struct snap_dfn d;
        struct rsc_dfn rd;
        const char *why = NULL;
        if (!op_find_snap_dfn(op, s->rsc_name, s->snap_name, &d) || !op_find_rd(op, s->rsc_name, &rd)) return;
        SET(&d, snap_dfn, flags, d.flags | snap_dfn_flag_SUCCESSFUL);
        row_put(op->tx, &snap_dfn_type, &d);
        if (!HAS(s, ship, download_only) || !s->download_only) why = op_restore_try(op, &d, &rd);
        if (why != NULL) op_ship_fail(op, s, why);
        else if (s->kind == ship_kind_RECEIVE) op_ship_enter(op, s, ship_phase_DONE);
        else {
                op_ship_drop(op, s);
                op_ship_touch(op, s);
        }
}

void op_ship_again(struct op *op, struct ship *s)
{
        s->own_key = s->peer_key = s->address = s->base_snap = s->base_id = NULL;
        UNSET(s, ship, own_key);
        UNSET(s, ship, peer_key);
        UNSET(s, ship, address);
        UNSET(s, ship, base_snap);
        UNSET(s, ship, base_id);
        SET(s, ship, round, s->round + 1);
        op_ship_enter(op, s, ship_phase_ASK);
}

/* The next one may be based on it. */
static void note_backup(struct op *op, const struct ship *s)
{
        struct snap_dfn d;
        if (s->kind != ship_kind_UPLOAD || !op_find_snap_dfn(op, s->rsc_name, s->snap_name, &d)) return;
        struct snap_backup *list = arena_alloc(op->arena, (d.backups_n + 1) * sizeof *list);
        uint32_t n = 0;
        for (uint32_t i = 0; i < d.backups_n; i++)
                if (!op_same(d.backups[i].remote_name, s->remote_name)) list[n++] = d.backups[i];
        list[n] = (struct snap_backup){ 0 };
        SET(&list[n], snap_backup, remote_name, s->remote_name);
        SET(&list[n], snap_backup, meta_name, s->meta_name);
        SET_N(&d, snap_dfn, backups, list, n + 1);
        row_put(op->tx, &snap_dfn_type, &d);
}

static void end_run(struct op *op, struct ship *s, bool again)
{
        if (again) op_ship_again(op, s);
        else if (ship_is_incoming(s)) end_download(op, s);
        else if (s->kind == ship_kind_SEND) op_ship_sent(op, s);
        else {
                note_backup(op, s);
                op_ship_touch(op, s);
                op_ship_drop(op, s);
        }
}

static const struct obs_snap *seen_snap(const struct obs_rsc *o, const char *name)
{
        for (uint32_t i = 0; i < o->snapshots_n; i++)
                if (op_same(o->snapshots[i].snap_name, name)) return &o->snapshots[i];
        return NULL;
}

/* What is shipped is as large as the storage made it, which may be more than was asked for: all of it may be in use. */
static void take_sizes(struct op *op, struct ship *s)
{
        struct obs_rsc o;
        if (!op_observed_rsc(op, s->rsc_name, s->node_name, &o)) return;
        const struct obs_snap *x = seen_snap(&o, s->snap_name);
        struct ship_vlm *vlms = arena_alloc(op->arena, (s->volumes_n + 1) * sizeof *vlms);
        for (uint32_t i = 0; i < s->volumes_n; i++) {
                vlms[i] = s->volumes[i];
                for (uint32_t k = 0; x != NULL && k < x->volumes_n; k++)
                        if (x->volumes[k].volume_number == vlms[i].volume_number)
                                SET(&vlms[i], ship_vlm, size_kib,
                                        MAX(vlms[i].size_kib, x->volumes[k].usable_kib));
        }
        SET_N(s, ship, volumes, vlms, s->volumes_n);
        if (s->meta != NULL) SET(s, ship, meta, op_backup_sizes(op, s));
}

/* Its snapshot has been taken. */
static void begin(struct op *op, struct ship *s)
{
        take_sizes(op, s);
        if (s->kind == ship_kind_SEND) op_ship_again(op, s);
        else op_ship_enter(op, s, ship_phase_RUN);
}

void op_int_ship_step(struct op *op)
{
        const struct ship_step *b = OP_BODY(op, ship_step);
        struct ship key = { .uuid = b->uuid }, s;
        if (row_get(op->tx, &ship_type, &key, op->arena, &s) != 0 || (int64_t)s.phase != b->phase ||
                s.round != b->round) {
                op_rc(op, RC_MODIFIED, "The backup has gone on already.");
                return;
        }
        if (!ship_is_live(&s)) op_ship_drop(op, &s);
        else if (HAS(b, ship_step, failed) && b->failed) op_ship_fail(op, &s, op_text(b->reason));
        else if (s.phase == ship_phase_WAIT) begin(op, &s);
        else end_run(op, &s, HAS(b, ship_step, again) && b->again);
        if (!op_failed(op)) op_rc(op, RC_MODIFIED, "The backup goes on.");
}
