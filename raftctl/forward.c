/* Requests of this member's clients. Each waits here until it is answered or its deadline passes: evaluated
 * here while this member leads, else sent to the leader, again and again with the same id when leaders
 * change.
 *
 * States: WAITING (no leader, or no room) -> QUEUED (this member leads) or SENT (to the leader) -> answered,
 * or WAITING again. uncertain counts the attempts that may have been proposed: it decides between "nothing
 * happened" and "unknown". */
#include <stdlib.h>
#include <string.h>

#include "raftctl/driver_int.h"
#include "wire/base/sabotage.h"

static void request_free(struct driver *d, struct drv_request *r)
{
        if (r->waiter) batch_forget_waiter(d, r->waiter);
        if (r->state == REQUEST_SENT) d->sent_n--;
        list_remove(&r->node);
        d->requests_n--;
        free(r);
}

void forward_finish(
        struct driver *d, struct drv_request *r, int err, uint64_t index, uint64_t term, struct blob reply)
{
        struct done *done = drv_done(d, DONE_REQUEST, err, r->arg);

        done->reply_cb = r->cb;
        done->index = index;
        done->term = term;
        done->reply = reply.n ? xmemdup(reply.p, reply.n) : NULL;
        done->reply_n = reply.n;
        request_free(d, r);
}

void forward_again(struct driver *d, struct drv_request *r)
{
        if (r->state == REQUEST_SENT) d->sent_n--;
        r->state = REQUEST_WAITING;
        list_remove(&r->node);
        list_push_back(&d->waiting, &r->node);
        d->dirty = true;
}

void driver_submit(struct driver *d, const uint8_t id[REQUEST_ID_SIZE], struct blob request,
        uint64_t deadline_ms, driver_reply_fn *cb, void *arg)
{
        struct drv_request *r;

        drv_enter(d);
        d->holding = d->collecting = true;
        r = xmalloc(sizeof(*r) + request.n);
        *r = (struct drv_request){ .deadline_ms = deadline_ms, .cb = cb, .arg = arg };
        memcpy(r->id, id, REQUEST_ID_SIZE);
        if (request.n) memcpy(r + 1, request.p, request.n);
        r->request = BLOB(r + 1, request.n);
        list_init(&r->node);
        list_push_back(&d->waiting, &r->node);
        d->requests_n++;
        drv_scan_at(d, deadline_ms);
        if (d->requests_n > REQUESTS_MAX) forward_finish(d, r, E_LIMIT, 0, 0, BLOB(NULL, 0));
        else if (d->fatal) forward_finish(d, r, E_CANCELED, 0, 0, BLOB(NULL, 0));
        d->dirty = true;
        drv_leave(d);
}

static void send_one(struct driver *d, struct drv_request *r, uint64_t leader, uint64_t now)
{
        struct rf_forward m = { 0 };

        r->attempt = ++d->attempt;
        r->sent_ms = now;
        r->state = REQUEST_SENT;
        if (SABOTAGE(RETRY_NEW_ID) && r->uncertain) r->id[0]++;
        if (r->uncertain++ > 0) SET(&m, rf_forward, since, r->since);
        d->sent_n++;
        list_remove(&r->node);
        list_push_back(&d->sent, &r->node);
        SET(&m, rf_forward, attempt, r->attempt);
        SET(&m, rf_forward, id, BLOB(r->id, REQUEST_ID_SIZE));
        SET(&m, rf_forward, request, r->request);
        SET(&m, rf_forward, left_ms, r->deadline_ms - now);
        peer_send(d, leader, CHANNEL_RAFT, raft_frame_FORWARD, &m);
        drv_scan_at(d, now + 2 * d->election_ms);
}

void forward_pump(struct driver *d)
{
        uint64_t now = drv_now(d), leader = drv_leader(d);

        if (d->fatal || leader == 0 || list_empty(&d->waiting)) return;
        if (now < d->hold_ms) {
                drv_scan_at(d, d->hold_ms);
                return;
        }
        LIST_FOREACH_SAFE(it, nx, &d->waiting)
        {
                struct drv_request *r = container_of(it, struct drv_request, node);
                if (r->deadline_ms <= now) continue; /* forward_expire has it next */
                if (!r->tried) r->since = raft_commit_index(&d->raft);
                r->tried = true;
                if (leader == d->id) {
                        if (d->queue_n >= OPS_MAX) return;
                        list_remove(&r->node);
                        list_push_back(&d->sent, &r->node);
                        r->state = REQUEST_QUEUED;
                        batch_add(d, r->id, r->request, r->deadline_ms,
                                r->uncertain > 0 ? r->since : NEVER_TRIED, r, 0, 0);
                } else {
                        if (d->sent_n >= FORWARDS_IN_FLIGHT) return;
                        send_one(d, r, leader, now);
                }
        }
}

void forward_leader_changed(struct driver *d)
{
        LIST_FOREACH_SAFE(it, nx, &d->sent)
        {
                struct drv_request *r = container_of(it, struct drv_request, node);
                if (r->state == REQUEST_SENT) forward_again(d, r);
        }
        d->hold_ms = 0;
}

void forward_expire(struct driver *d, uint64_t now)
{
        struct list *lists[2] = { &d->waiting, &d->sent };

        for (unsigned i = 0; i < 2; i++) {
                LIST_FOREACH_SAFE(it, nx, lists[i])
                {
                        struct drv_request *r = container_of(it, struct drv_request, node);
                        if (r->deadline_ms <= now) {
                                const struct op *op =
                                        r->state == REQUEST_QUEUED ? batch_op_find(d, r->id) : NULL;
                                bool proposed = r->uncertain > 0 || (op && op->state == OP_PROPOSED);
                                forward_finish(d, r, proposed ? E_UNKNOWN_OUTCOME : E_NO_QUORUM, 0, 0,
                                        BLOB(NULL, 0));
                        } else if (r->state == REQUEST_SENT && r->sent_ms + 2 * d->election_ms <= now) {
                                forward_again(d, r);
                                drv_scan_at(d, r->deadline_ms);
                        } else {
                                drv_scan_at(d, r->deadline_ms);
                                if (r->state == REQUEST_SENT) drv_scan_at(d, r->sent_ms + 2 * d->election_ms);
                        }
                }
        }
}

void forward_on_request(struct driver *d, struct peer *p, const struct rf_forward *m)
{
        int err = !d->leading ? E_NOT_LEADER : d->queue_n >= OPS_MAX ? E_BUSY : 0;

        if (err < 0) {
                struct rf_forward_reply r = { 0 };
                SET(&r, rf_forward_reply, attempt, m->attempt);
                SET(&r, rf_forward_reply, err, err);
                SET(&r, rf_forward_reply, untouched, true);
                peer_send(d, p->id, CHANNEL_RAFT, raft_frame_FORWARD_REPLY, &r);
                return;
        }
        batch_add(d, m->id.p, m->request, drv_now(d) + MIN(m->left_ms, UINT64_C(86400000)),
                HAS(m, rf_forward, since) ? m->since : NEVER_TRIED, NULL, p->id, m->attempt);
}

void forward_on_reply(struct driver *d, struct peer *p, const struct rf_forward_reply *m)
{
        LIST_FOREACH(it, &d->sent)
        {
                struct drv_request *r = container_of(it, struct drv_request, node);
                if (r->state != REQUEST_SENT || r->attempt != m->attempt) continue;
                if (m->err < 0 && m->untouched) r->uncertain--;
                if (m->err == E_NOT_LEADER || m->err == E_BUSY || m->err == E_NO_QUORUM) {
                        d->hold_ms = drv_now(d) + RETRY_MS;
                        forward_again(d, r);
                } else {
                        int err = m->err < 0 && m->err >= INT16_MIN ? (int)m->err
                                  : m->err == 0                     ? 0
                                                                    : E_PROTOCOL;
                        forward_finish(d, r, err, m->index, m->term, m->reply);
                }
                return;
        }
}

void forward_close(struct driver *d)
{
        struct list *lists[2] = { &d->waiting, &d->sent };

        for (unsigned i = 0; i < 2; i++) LIST_FOREACH_SAFE(it, nx, lists[i])
        forward_finish(d, container_of(it, struct drv_request, node), E_CANCELED, 0, 0, BLOB(NULL, 0));
}
