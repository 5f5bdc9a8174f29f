/* Sending the state to a member that is too far behind the log: from a read view at the applied index, in
 * chunks on the bulk channel, at most SNAP_WINDOW unacknowledged, one transfer for each peer. The core asks
 * again and again meanwhile.
 *
 * Failures: the bulk link is not up or goes down, the receiver refuses, silence: the transfer ends, and the next refusal
 * of a heartbeat begins another one (SNAP). While one is on its way the log behind it is kept (snap_keep_from), so that
 * the member finds there what was written meanwhile. */
#include <string.h>

#include "raftctl/driver_int.h"
#include "wire/base/sabotage.h"

#define SNAP_IDLE_TIMEOUTS 10 /* election timeouts without an ack */
#define SNAP_TOTAL_MS (20 * 60 * 1000)
#define KEEP_TIMEOUTS 3 /* election timeouts for which the log is kept for a member that says nothing */

void snap_send_stop(struct driver *d, struct peer *p)
{
        struct snap_send *s = &p->snap;

        if (s->active && s->opened) snapshot_close(&s->reader);
        s->active = s->opened = false;
}

void snap_send_stop_all(struct driver *d)
{
        for (unsigned i = 0; i < d->peers_n; i++) snap_send_stop(d, &d->peers[i]);
}

void snap_send_start(struct driver *d, uint64_t to, uint64_t asked)
{
        struct peer *p = peer_get(d, to);
        uint64_t now = drv_now(d);

        if (!p) return;
        p->snap.asked = asked;
        if (p->snap.active || p->bulk_down || now < p->snap.rest_until_ms) return;
        if (d->log_only && !p->log_only) { /* there is nothing to send: the log is all that it could give */
                p->starved_ms = now;
                return;
        }
        p->snap = (struct snap_send){ .active = true,
                .transfer = ++d->transfer_no,
                .started_ms = now,
                .heard_ms = now,
                .asked = asked };
        drv_scan_at(d, now + SNAP_IDLE_TIMEOUTS * (uint64_t)d->election_ms);
        d->dirty = true;
}

static bool open_transfer(struct driver *d, struct peer *p)
{
        struct snap_send *s = &p->snap;
        const struct raft_configuration *c;
        struct rf_snap_begin m = { 0 };
        struct buf conf = { 0 };
        uint64_t conf_index;
        bool ok = false;

        if (!d->leading || d->installing || d->applied.index == 0 ||
                !step_conf_at(d, d->applied.index, &c, &conf_index))
                return false;
        conf_encode(c, &conf);
        if (snapshot_open(&s->reader, d->store, conf_index, buf_blob(&conf)) == 0) {
                s->opened = true;
                s->index = s->reader.applied.index;
                s->reader.log_only = p->log_only;
                ok = s->reader.applied.index == d->applied.index;
                if (!ok) { /* a job finished whose answer is still to come */
                        snapshot_close(&s->reader);
                        s->opened = false;
                }
        }
        if (ok) {
                SET(&m, rf_snap_begin, transfer, s->transfer);
                SET(&m, rf_snap_begin, term, d->lead_term);
                SET(&m, rf_snap_begin, index, s->reader.applied.index - SABOTAGE(SNAPSHOT_LATER_READ));
                SET(&m, rf_snap_begin, last_term, s->reader.applied.term);
                SET(&m, rf_snap_begin, conf_index, conf_index);
                SET(&m, rf_snap_begin, conf, buf_blob(&conf));
                if (p->log_only) SET(&m, rf_snap_begin, log_only, true);
                peer_send(d, p->id, CHANNEL_BULK, raft_frame_SNAP_BEGIN, &m);
        }
        buf_done(&conf);
        return ok;
}

static void send_chunks(struct driver *d, struct peer *p)
{
        struct snap_send *s = &p->snap;
        struct buf chunk = { 0 };

        while (!s->last_sent && s->seq < s->acked + SNAP_WINDOW) {
                struct rf_snap_chunk m = { 0 };
                if (snapshot_next(&s->reader, &chunk, &s->last_sent) < 0) {
                        snap_send_stop(d, p);
                        break;
                }
                SET(&m, rf_snap_chunk, transfer, s->transfer);
                SET(&m, rf_snap_chunk, seq, ++s->seq);
                SET(&m, rf_snap_chunk, last, s->last_sent);
                SET(&m, rf_snap_chunk, data, buf_blob(&chunk));
                peer_send(d, p->id, CHANNEL_BULK, raft_frame_SNAP_CHUNK, &m);
        }
        buf_done(&chunk);
}

void snap_send_pump(struct driver *d)
{
        for (unsigned i = 0; i < d->peers_n; i++) {
                struct peer *p = &d->peers[i];
                if (!p->snap.active) continue;
                if (!p->snap.opened && !open_transfer(d, p)) continue;
                send_chunks(d, p);
        }
}

void snap_on_ack(struct driver *d, struct peer *p, const struct rf_snap_ack *m)
{
        struct snap_send *s = &p->snap;

        if (!s->active || !s->opened || m->transfer != s->transfer || m->seq > s->seq) return;
        s->heard_ms = drv_now(d);
        if (m->err < 0) {
                snap_send_stop(d, p);
                s->rest_until_ms = s->heard_ms + d->election_ms;
                return;
        }
        if (m->seq > s->acked) s->acked = m->seq;
        if (s->last_sent && s->acked == s->seq) {
                snap_send_stop(d, p);
                s->rest_until_ms = s->heard_ms + 4 * (uint64_t)d->election_ms;
        }
        d->dirty = true;
}

/* SNAP: the core takes a snapshot to be on its way until the member has it, or refuses what follows that very
 * snapshot, or 30 s are over. Heartbeats follow the newest snapshot: under load that is another one soon, and the
 * refusals of a member whose transfer was lost say nothing to the core. */
void snap_on_refusal(struct driver *d, struct peer *p, struct raft_append_entries_result *r)
{
        struct snap_send *s = &p->snap;

        if (!guard_on(GUARD_SNAP) || !d->leading || r->term != d->lead_term) return;
        if (s->asked == 0 || s->active || p->bulk_down || drv_now(d) < s->rest_until_ms) return;
        r->rejected = s->asked;
        r->last_log_index = MIN(r->last_log_index, s->asked - 1);
        s->asked = 0; /* once: the core asks again if it waits for one */
}

void snap_on_match(struct driver *d, struct peer *p, uint64_t match)
{
        if (match >= p->snap.asked) p->snap.asked = 0;
        if (match >= p->snap.index) p->snap.rest_until_ms = 0;
}

uint64_t snap_keep_from(struct driver *d)
{
        const struct raft_configuration *c = &d->raft.configuration;
        uint64_t from = UINT64_MAX, now = drv_now(d);

        for (unsigned i = 0; d->leading && i < c->n; i++) {
                const struct peer *p = peer_find(d, c->servers[i].id);
                raft_index match = 0;
                if (c->servers[i].role == RAFT_SPARE || !p || p->heard_ms == 0) continue;
                if (now >= p->heard_ms + KEEP_TIMEOUTS * (uint64_t)d->election_ms) continue;
                if (p->snap.active || now < p->snap.rest_until_ms) match = p->snap.index;
                else (void)raft_match_index(&d->raft, p->id, &match);
                if (match != 0) from = MIN(from, match - 1); /* its own term is asked for */
        }
        return from;
}

void snap_send_tick(struct driver *d, uint64_t now)
{
        for (unsigned i = 0; i < d->peers_n; i++) {
                struct peer *p = &d->peers[i];
                uint64_t until;
                if (!p->snap.active) continue;
                until = MIN(p->snap.heard_ms + SNAP_IDLE_TIMEOUTS * (uint64_t)d->election_ms,
                        p->snap.started_ms + SNAP_TOTAL_MS);
                if (now >= until) snap_send_stop(d, p);
                else drv_scan_at(d, until);
        }
}
