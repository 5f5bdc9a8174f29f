/* The steps of sagas, see saga.h. */
#include <string.h>

#include "controller/base/apirc.h"
#include "controller/op/auto_snap.h"
#include "controller/op/saga.h"
#include "state/overlay.h"

/* ---- what hangs on a saga ---- */

bool op_saga_free(struct op *op, const char *rsc_name)
{
        struct snap_dfn d, key = { .rsc_name = rsc_name };
        struct row_scan s;
        bool free = true;
        row_scan_open(&s, op->tx, &snap_dfn_type, &key, 1);
        while (free && row_scan_next(&s, op->arena, &d)) free = !op_given(d.saga);
        row_scan_close(&s);
        if (free) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_RSC_BUSY, "Resource '%s' is busy: snapshot '%s' is being made.",
                rsc_name, d.snap_name);
        op_rc_explain(op, rc, NULL, NULL, "Try again when that has ended.");
        op_rc_ref(op, rc, "RscDfn", rsc_name);
        return false;
}

/* Satellites must look again at the resource and at the snapshot. */
static void touch_item(struct op *op, const struct saga_item *item)
{
        struct rsc *rscs;
        struct snap *snaps;
        uint32_t n = op_list_rscs(op, item->rsc_name, &rscs);
        for (uint32_t i = 0; i < n; i++) {
                SET(&rscs[i], rsc, revision, op->index);
                row_put(op->tx, &rsc_type, &rscs[i]);
        }
        n = op_list_snaps(op, item->rsc_name, item->snap_name, &snaps);
        for (uint32_t i = 0; i < n; i++) {
                SET(&snaps[i], snap, revision, op->index);
                row_put(op->tx, &snap_type, &snaps[i]);
        }
}

static void add_wait(struct op *op, const struct saga *s)
{
        op_wait_rsc(op, s->nodes_n > 0 ? s->nodes[0] : "", s->uuid, false);
        struct wait_item *w = &op->reply->waits[op->reply->waits_n - 1];
        UNSET(w, wait_item, rsc_name);
        w->rsc_name = NULL;
        SET(w, wait_item, saga, s->uuid);
}

/* ---- what each phase begins with ---- */

static void set_down(struct op *op, const char *rsc_name, bool down)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, rsc_name, &rscs);
        for (uint32_t i = 0; i < n; i++) {
                uint64_t flags = rscs[i].flags & ~(uint64_t)rsc_flag_INACTIVE;
                SET(&rscs[i], rsc, flags, down ? flags | rsc_flag_INACTIVE : flags);
                SET(&rscs[i], rsc, revision, op->index);
                row_put(op->tx, &rsc_type, &rscs[i]);
        }
}

/* A volume that could not be replaced has been down since the safety snapshot of it was taken, which needs no copying then. */
static void note_same(const struct snap *safety, struct vlm *v)
{
        for (uint32_t i = 0; i < safety->volumes_n; i++) {
                const struct snap_vlm *of = &safety->volumes[i];
                if (of->volume_number == v->volume_number && HAS(of, snap_vlm, of_uuid))
                        SET(v, vlm, same_uuid, of->of_uuid);
        }
}

/* The volumes become new ones, made from the snapshot in the place of the old ones. back: to what they were. */
static void swap(struct op *op, const char *rsc_name, const char *snap_name, bool back)
{
        struct rsc *rscs;
        struct snap_dfn d;
        uint32_t n = op_list_rscs(op, rsc_name, &rscs);
        if (op_find_snap_dfn(op, rsc_name, snap_name, &d)) op_restore_keys(op, &d, rsc_name, false);
        for (uint32_t i = 0; i < n; i++) {
                struct rsc *r = &rscs[i], old = *r;
                struct snap s;
                SET(r, rsc, flags, r->flags & ~(uint64_t)rsc_flag_INACTIVE);
                struct vlm *vlms = arena_alloc(op->arena, (r->volumes_n + 1) * sizeof *vlms);
                if (r->volumes_n != 0) memcpy(vlms, r->volumes, r->volumes_n * sizeof *vlms);
                bool has = op_find_snap(op, rsc_name, snap_name, r->node_name, &s);
                for (uint32_t k = 0; has && k < r->volumes_n; k++) {
                        if (!op_source_volume(&s, &vlms[k], op->arena)) continue;
                        SET(&vlms[k], vlm, uuid, op_uuid(op));
                        SET(&vlms[k], vlm, in_place, true);
                        UNSET(&vlms[k], vlm, same_uuid);
                        vlms[k].same_uuid = NULL;
                        if (back) note_same(&s, &vlms[k]);
                }
                SET_N(r, rsc, volumes, vlms, r->volumes_n);
                op_put_rsc(op, &old, r);
        }
}

static void keep_change(void *arg, struct blob key, struct blob value, bool deleted)
{
        if (deleted) (void)tx_del(arg, key);
        else (void)tx_put(arg, key, value);
}

/* All or none. What is refused now will be refused again: the saga or shipment ends with that reason,
 * unless a satellite has to be dialed first, for then the whole step is proposed again.
 * NULL: done; else the reason. */
const char *op_restore_try(struct op *op, const struct snap_dfn *d, struct rsc_dfn *rd)
{
        struct tx *outer = op->tx;
        const char *why = NULL;
        uint32_t rcs_n = op->reply->rcs_n, waits_n = op->reply->waits_n, settle_n = op->settle_n;
        struct overlay *o = overlay_new(outer);
        op->tx = overlay_tx(o);
        bool done = op_restore_rscs(op, d, rd, NULL, 0) && !op_failed(op);
        int err = op->tx->err;
        op->tx = outer;
        if (done) overlay_visit(o, keep_change, outer);
        overlay_free(o);
        if (err != 0) (void)tx_fail(outer, err);
        if (done || err != 0 || op->early || op->doubtful) return NULL;
        for (uint32_t i = rcs_n; i < op->reply->rcs_n && why == NULL; i++)
                if (apirc_severity(op->reply->rcs[i].ret_code) == APIRC_ERROR)
                        why = op->reply->rcs[i].message;
        op->reply->rcs_n = rcs_n;
        op->reply->waits_n = waits_n;
        op->settle_n = settle_n;
        op->err = 0;
        return why != NULL ? why : "Its resources cannot be made.";
}

static const char *copy(struct op *op, const struct saga *s)
{
        struct snap_dfn d;
        struct rsc_dfn rd;
        if (!op_find_snap_dfn(op, s->items[0].rsc_name, s->items[0].snap_name, &d) ||
                !op_find_rd(op, s->target, &rd))
                return NULL;
        return op_restore_try(op, &d, &rd);
}

/* What opened its source is not needed any more. */
static void drop_source_keys(struct op *op, const struct rsc_dfn *clone)
{
        struct vlm_dfn *vds;
        uint32_t n = RD_HAS_LAYER(clone, "LUKS") ? 0 : op_list_vds(op, clone->name, &vds);
        for (uint32_t i = 0; i < n; i++) {
                if (!HAS(&vds[i], vlm_dfn, luks_key)) continue;
                UNSET(&vds[i], vlm_dfn, luks_key);
                UNSET(&vds[i], vlm_dfn, luks_weak);
                UNSET(&vds[i], vlm_dfn, luks_key_id);
                UNSET(&vds[i], vlm_dfn, luks_olds);
                row_put(op->tx, &vlm_dfn_type, &vds[i]);
        }
}

static void set_clone_flag(struct op *op, const char *target, bool failed)
{
        struct rsc_dfn rd;
        if (!op_find_rd(op, target, &rd)) return;
        uint64_t flags = rd.flags & ~(uint64_t)rsc_dfn_flag_CLONING;
        SET(&rd, rsc_dfn, flags, failed ? flags | rsc_dfn_flag_FAILED : flags);
        row_put(op->tx, &rsc_dfn_type, &rd);
        drop_source_keys(op, &rd);
}

/* Nobody waits for a clone: who asks later finds why. */
static void fail_clone(struct op *op, const struct saga *s)
{
        set_clone_flag(op, s->target, true);
        op_report(op, "CloneFailed",
                arena_printf(op->arena,
                        "Resource definition '%s' was not cloned to '%s': %s Delete '%s', and clone again "
                        "when the cause is gone.",
                        s->items[0].rsc_name, s->target, op_text(s->reason), s->target));
}

/* ---- ends ---- */

/* The snapshots are what was wanted, or were only made on the way (bury). */
static void end_items(struct op *op, const struct saga *s, bool bury)
{
        for (uint32_t i = 0; i < s->items_n; i++) {
                struct snap_dfn d;
                if (!op_find_snap_dfn(op, s->items[i].rsc_name, s->items[i].snap_name, &d)) continue;
                UNSET(&d, snap_dfn, saga);
                d.saga = NULL;
                if (!bury) SET(&d, snap_dfn, flags, d.flags | snap_dfn_flag_SUCCESSFUL);
                row_put(op->tx, &snap_dfn_type, &d);
                if (bury) op_bury_snap(op, &d, NULL);
        }
}

static void end_well(struct op *op, struct saga *s)
{
        end_items(op, s, s->kind != saga_kind_SNAPSHOT);
        for (uint32_t i = 0; s->kind == saga_kind_SNAPSHOT && i < s->items_n; i++) {
                struct snap_dfn d;
                if (op_find_snap_dfn(op, s->items[i].rsc_name, s->items[i].snap_name, &d) &&
                        (d.flags & snap_dfn_flag_AUTO_SNAPSHOT) != 0)
                        op_auto_snap_prune(op, &d);
        }
        if (s->kind == saga_kind_CLONE) set_clone_flag(op, s->target, false);
        (void)row_del(op->tx, &saga_type, s);
}

static void stamp_taken(struct op *op, const struct saga_item *item)
{
        struct snap *snaps;
        uint32_t n = op_list_snaps(op, item->rsc_name, item->snap_name, &snaps);
        for (uint32_t i = 0; i < n; i++) {
                SET(&snaps[i], snap, create_timestamp, op->req->wall_ms);
                row_put(op->tx, &snap_type, &snaps[i]);
        }
}

/* ---- from phase to phase ---- */

/* keep: a saga that has failed leaves its snapshots where they are. */
static void enter(struct op *op, struct saga *s, enum saga_phase to, bool keep)
{
        const char *rsc_name = s->items[0].rsc_name;
        for (uint32_t i = 0; s->phase == saga_phase_TAKE && i < s->items_n; i++)
                stamp_taken(op, &s->items[i]);
        SET(s, saga, phase, to);
        SET(s, saga, revision, op->index);
        SET(s, saga, since_ms, op->req->wall_ms);
        row_put(op->tx, &saga_type, s);
        if (to == saga_phase_DOWN) set_down(op, rsc_name, true);
        if (to == saga_phase_UNDO_UP) set_down(op, rsc_name, false);
        if (to == saga_phase_SWAP) swap(op, rsc_name, s->target, false);
        if (to == saga_phase_UNDO_SWAP) swap(op, rsc_name, s->items[0].snap_name, true);
        if (to == saga_phase_FAILED) end_items(op, s, !keep);
        if (to == saga_phase_FAILED && s->kind == saga_kind_CLONE) fail_clone(op, s);
        for (uint32_t i = 0; to != saga_phase_FAILED && i < s->items_n; i++) touch_item(op, &s->items[i]);
}

/* saga_phase_N: the end. */
static enum saga_phase next_phase(const struct saga *s, bool failed)
{
        bool rollback = s->kind == saga_kind_ROLLBACK;
        switch (s->phase) {
        case saga_phase_SUSPEND: return failed ? saga_phase_UNDO_RESUME : saga_phase_TAKE;
        case saga_phase_TAKE:
                if (failed) return rollback ? saga_phase_UNDO_UP : saga_phase_UNDO_RESUME;
                return rollback ? saga_phase_SWAP : saga_phase_RESUME;
        case saga_phase_RESUME: return s->kind == saga_kind_CLONE ? saga_phase_COPY : saga_phase_N;
        case saga_phase_DOWN: return failed ? saga_phase_UNDO_UP : saga_phase_TAKE;
        case saga_phase_SWAP: return failed ? saga_phase_UNDO_SWAP : saga_phase_N;
        case saga_phase_COPY: return failed ? saga_phase_FAILED : saga_phase_N;
        case saga_phase_UNDO_RESUME:
        case saga_phase_UNDO_UP:
        case saga_phase_UNDO_SWAP: return saga_phase_FAILED;
        case saga_phase_FAILED:
        case saga_phase_N: break;
        }
        return saga_phase_N;
}

void op_saga_begin(struct op *op, enum saga_kind kind, const struct saga_item *items, uint32_t n,
        const char *target, bool wait)
{
        struct saga s = { 0 };
        const char **nodes = NULL;
        uint32_t nodes_n = 0, cap = 0;
        for (uint32_t i = 0; i < n; i++) {
                struct rsc *rscs;
                uint32_t rscs_n = op_list_rscs(op, items[i].rsc_name, &rscs);
                const char **more = arena_alloc(op->arena, (cap + rscs_n + 1) * sizeof *more);
                if (nodes_n > 0) memcpy(more, nodes, nodes_n * sizeof *more);
                nodes = more;
                cap += rscs_n;
                for (uint32_t k = 0; k < rscs_n; k++) {
                        if (op_node_surely_online(op, rscs[k].node_name) &&
                                !op_in_list(rscs[k].node_name, nodes, nodes_n))
                                nodes[nodes_n++] = rscs[k].node_name;
                }
        }
        SET(&s, saga, uuid, op_uuid(op));
        SET(&s, saga, kind, kind);
        SET_N(&s, saga, items, (struct saga_item *)items, n);
        SET_N(&s, saga, nodes, nodes, nodes_n);
        if (target != NULL) SET(&s, saga, target, target);
        for (uint32_t i = 0; i < n; i++) {
                struct snap_dfn d;
                if (!op_find_snap_dfn(op, items[i].rsc_name, items[i].snap_name, &d)) continue;
                SET(&d, snap_dfn, saga, s.uuid);
                row_put(op->tx, &snap_dfn_type, &d);
        }
        s.phase = saga_phase_N;
        enter(op, &s, kind == saga_kind_ROLLBACK ? saga_phase_DOWN : saga_phase_SUSPEND, false);
        if (wait) add_wait(op, &s);
}

void op_int_saga_step(struct op *op)
{
        const struct saga_step *b = OP_BODY(op, saga_step);
        struct saga key = { .uuid = b->uuid }, s;
        if (row_get(op->tx, &saga_type, &key, op->arena, &s) != 0 || (int64_t)s.phase != b->phase) {
                op_rc(op, RC_MODIFIED, "The saga has gone on already.");
                return;
        }
        enum saga_phase to = next_phase(&s, b->failed);
        /* The safety snapshot is all that there is of the data now. */
        bool keep = b->failed && s.phase == saga_phase_UNDO_SWAP;
        if (keep)
                SET(&s, saga, reason,
                        arena_printf(op->arena,
                                "%s The safety snapshot '%s' is kept, for it could not be restored: %s",
                                op_text(s.reason), s.items[0].snap_name, op_text(b->reason)));
        else if (b->failed && s.reason == NULL) SET(&s, saga, reason, op_text(b->reason));
        const char *refused = to == saga_phase_COPY ? copy(op, &s) : NULL;
        if (refused != NULL) {
                to = saga_phase_FAILED;
                SET(&s, saga, reason, refused);
        }
        if (to != saga_phase_N) enter(op, &s, to, keep);
        else if (s.phase == saga_phase_FAILED) (void)row_del(op->tx, &saga_type, &s);
        else end_well(op, &s);
        op_rc(op, RC_MODIFIED, "The saga goes on.");
}
