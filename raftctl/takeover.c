/* The beginning of a new history, see takeover.h. The tail of the log is applied to an overlay first, so that the
 * write-set can be worked out before the one job that writes everything. */
#include "raftctl/takeover.h"

#include <stdlib.h>
#include <string.h>

#include "raftctl/conf.h"
#include "state/overlay.h"
#include "state/table.h"
#include "wire/codec/codec.h"

enum { ROWS_ARENA = 8 << 20 };

uint64_t takeover_epoch(uint64_t known_term, uint64_t above_term, int64_t now_ms)
{
        uint64_t least = MAX(known_term + TAKEOVER_STEP, above_term + 1);
        return MAX(least, (uint64_t)(now_ms / 1000));
}

int lineage_get(struct tx *tx, uint64_t *ret_epoch, bool *ret_known)
{
        struct arena a;
        struct row_scan s;
        struct cluster c = { 0 };
        struct lineage l = { 0 };
        arena_init(&a, ROWS_ARENA);
        *ret_epoch = 0;
        int err = row_get_single(tx, &cluster_type, &a, &c);
        *ret_known = err == 0 && c.uuid != NULL;
        row_scan_open(&s, tx, &lineage_type, &l, 0);
        while (row_scan_next(&s, &a, &l)) *ret_epoch = MAX(*ret_epoch, l.epoch);
        row_scan_close(&s);
        arena_done(&a);
        return err != 0 ? err : tx->err;
}

/* ---- rows ---- */

static void drop_tokens(struct tx *tx, struct arena *a)
{
        struct row_scan s;
        struct join_token t = { 0 };
        row_scan_open(&s, tx, &join_token_type, &t, 0);
        while (row_scan_next(&s, a, &t)) (void)row_del(tx, &join_token_type, &t);
        row_scan_close(&s);
}

/* Everybody else may not come back with the certificate and id of the old history. */
static void remove_members(struct tx *tx, struct arena *a, const struct takeover *t)
{
        struct row_scan s;
        struct member m = { 0 };
        row_scan_open(&s, tx, &member_type, &m, 0);
        while (row_scan_next(&s, a, &m)) {
                struct removed_member r = { 0 };
                if (m.raft_id == t->raft_id) continue;
                SET(&r, removed_member, raft_id, m.raft_id);
                SET(&r, removed_member, name, m.name);
                if (m.fingerprint != NULL) SET(&r, removed_member, fingerprint, m.fingerprint);
                SET(&r, removed_member, removed_ms, t->now_ms);
                (void)row_put(tx, &removed_member_type, &r);
                (void)row_del(tx, &member_type, &m);
        }
        row_scan_close(&s);
}

static void put_self(struct tx *tx, struct arena *a, const struct takeover *t)
{
        struct member m = { 0 };
        SET(&m, member, name, t->name);
        if (row_get(tx, &member_type, &m, a, &m) != 0) { /* not there: restored */
                m = (struct member){ 0 };
                SET(&m, member, name, t->name);
                SET(&m, member, joined_ms, t->now_ms);
        }
        SET(&m, member, raft_id, t->raft_id);
        SET(&m, member, address, t->address);
        SET(&m, member, role, cert_role_CONTROLLER);
        SET(&m, member, standby, false);
        if (t->fingerprint != NULL) SET(&m, member, fingerprint, t->fingerprint);
        (void)row_put(tx, &member_type, &m);
}

static void put_lineage(
        struct tx *tx, const struct takeover *t, uint64_t epoch, uint64_t last_index, uint64_t last_term)
{
        struct lineage l = { 0 };
        SET(&l, lineage, epoch, epoch);
        SET(&l, lineage, kind, t->kind);
        SET(&l, lineage, last_index, last_index);
        SET(&l, lineage, last_term, last_term);
        SET(&l, lineage, member, t->name);
        SET(&l, lineage, made_ms, t->now_ms);
        if (t->backup_ms != 0) SET(&l, lineage, backup_ms, t->backup_ms);
        (void)row_put(tx, &lineage_type, &l);
}

/* ---- the job ---- */

struct beginning {
        const struct takeover *t;
        uint64_t last_index, last_term, epoch;
        struct log_entry *apply; /* the log's tail, then the two new entries */
        uint32_t apply_n;
        struct buf writeset, conf;
};

static int make_writeset(struct beginning *b, struct tx *state, const struct store_start *start)
{
        struct arena a;
        struct applied ap;
        enum apply_result result;
        struct overlay *tail = overlay_new(state), *o = NULL;
        int err = 0;
        for (uint64_t i = 0; err == 0 && i < start->entries_n; i++) {
                const struct log_entry *e = &start->entries[i];
                if (e->index <= start->applied.index) continue;
                b->apply[b->apply_n++] = *e;
                err = writeset_apply(overlay_tx(tail), e->index, e->term,
                        e->type == LOG_COMMAND ? e->data : (struct blob){ 0 }, &result);
        }
        if (err == 0) err = applied_get(overlay_tx(tail), &ap);
        if (err == 0) {
                arena_init(&a, ROWS_ARENA);
                o = overlay_new(overlay_tx(tail));
                remove_members(overlay_tx(o), &a, b->t);
                put_self(overlay_tx(o), &a, b->t);
                drop_tokens(overlay_tx(o), &a);
                put_lineage(overlay_tx(o), b->t, b->epoch, b->last_index, b->last_term);
                err = overlay_tx(o)->err;
                if (err == 0) err = writeset_encode(o, ap.writeset_index, &b->writeset);
                arena_done(&a);
        }
        overlay_free(o);
        overlay_free(tail);
        return err;
}

static int make_conf(struct beginning *b)
{
        struct raft_configuration none, c;
        conf_heap_init();
        raft_configuration_init(&none);
        int err = conf_with_member(&none, b->t->raft_id, b->t->address, conf_role_to_core(MEMBER_VOTER), &c);
        raft_configuration_close(&none);
        if (err != 0) return err;
        conf_encode(&c, &b->conf);
        raft_configuration_close(&c);
        return b->conf.err;
}

static void on_done(struct store_job *job, int err) { *(int *)job->data = err; }

static int submit(struct beginning *b, struct store *store)
{
        struct log_entry *added = &b->apply[b->apply_n];
        int result = E_STORAGE;
        struct store_job job = { .set_vote = true,
                .term = b->epoch,
                .entries = added,
                .entries_n = 2,
                .apply = b->apply,
                .apply_n = b->apply_n + 2,
                .set_snapshot = true,
                .snapshot = { b->last_index + 2, b->epoch, b->last_index + 1, buf_blob(&b->conf) },
                .trim_to = b->last_index + 2,
                .done_cb = on_done,
                .data = &result };
        added[0] = (struct log_entry){ b->last_index + 1, b->epoch, LOG_CHANGE, buf_blob(&b->conf) };
        added[1] = (struct log_entry){ b->last_index + 2, b->epoch, LOG_COMMAND, buf_blob(&b->writeset) };
        store->ops->submit(store, &job);
        store->ops->drain(store);
        return result;
}

int takeover_commit(struct store *store, const struct store_start *start, const struct takeover *t,
        uint64_t *ret_index, uint64_t *ret_term, struct fail *f)
{
        struct beginning b = {
                .t = t, .last_index = start->snapshot.index, .last_term = start->snapshot.term
        };
        struct tx *state;
        if (start->entries_n > 0) {
                b.last_index = start->entries[start->entries_n - 1].index;
                b.last_term = start->entries[start->entries_n - 1].term;
        }
        b.epoch = takeover_epoch(start->term, t->above_term, t->now_ms);
        b.apply = xcalloc(start->entries_n + 2, sizeof b.apply[0]);
        int err = make_conf(&b);
        if (err == 0) err = store->ops->read_begin(store, &state);
        if (err == 0) {
                err = make_writeset(&b, state, start);
                store->ops->read_end(store, state);
        }
        if (err == 0) err = submit(&b, store);
        *ret_index = b.last_index + 2;
        *ret_term = b.epoch;
        free(b.apply);
        buf_done(&b.writeset);
        buf_done(&b.conf);
        return err != 0 ? fail_set(f, err, "the new history could not be written: %s", err_text(err)) : 0;
}
