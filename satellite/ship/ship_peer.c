/* Shipments to and from another cluster, see ship_job.h.
 *
 *   sender    connects, sends each volume, says that these were all, waits for the receipt
 *   receiver  listens; stores each volume; gives the receipt, or says why not. When the connection is lost it listens on: the sender's
 *             controller begins it anew, or gives up; then this one is not named any more, or nobody comes for LISTEN_MS. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "satellite/ship/ship_dev.h"
#include "satellite/ship/ship_stream.h"

#define LISTEN_MS 300000u

static struct ship_peer peer_of(const struct ship_work *w)
{
        return (struct ship_peer){
                .keys = &w->keys, .peer_key = w->ship->peer_key, .uuid = w->ship->uuid, .cancel = &w->cancel
        };
}

static bool is_lost(int err)
{
        return err == E_CLOSED || err == E_TIMEOUT || err == E_AUTH || err == E_PROTOCOL;
}

static int failed(struct trouble *t, const struct ship_work *w, const struct fail *f, const char *what)
{
        trouble_set(t, f->err, TROUBLE_UNKNOWN, "Snapshot %s of resource %s %s.", w->ship->snap_name,
                w->ship->rsc_name, what);
        trouble_cause(t, "%s", f->text);
        trouble_fix(t, "Mend what is said there, and ship it again.");
        return f->err;
}

/* ---- sender ---- */

struct sender {
        struct ship_work *work;
        struct ship_link link;
        struct buf pending;
        struct fail fail;
};

static int flush(struct sender *s)
{
        int err =
                s->pending.n == 0 ? 0 : ship_send(&s->link, SHIP_DATA, s->pending.p, s->pending.n, &s->fail);
        atomic_fetch_add(&s->work->done_kib, s->pending.n / 1024);
        buf_reset(&s->pending);
        return err;
}

static int on_bytes(void *arg, const void *data, size_t n)
{
        struct sender *s = arg;
        const uint8_t *p = data;
        int err = 0;
        if (atomic_load(&s->work->cancel)) return fail_set(&s->fail, E_CANCELED, "it was stopped");
        while (n > 0 && err == 0) {
                size_t k = MIN(n, SHIP_CHUNK - s->pending.n);
                buf_put(&s->pending, p, k);
                err = s->pending.err;
                p += k;
                n -= k;
                if (err == 0 && s->pending.n == SHIP_CHUNK) err = flush(s);
        }
        return err;
}

static void put_number(uint8_t out[8], uint64_t v)
{
        for (unsigned i = 0; i < 8; i++) out[i] = (uint8_t)(v >> (8 * (7 - i)));
}

static int send_volume(struct sender *s, uint32_t i, struct trouble *t)
{
        struct ship_volume v;
        uint8_t number[8];
        int err = ship_volume_open(s->work, i, &v, t);
        if (err != 0) return err;
        put_number(number, v.vlm->volume_number);
        err = ship_send(&s->link, SHIP_VOLUME, number, sizeof number, &s->fail);
        if (err == 0) err = ship_volume_read(&v, on_bytes, s, t);
        if (err == 0) err = flush(s);
        if (err == 0) err = ship_send(&s->link, SHIP_VOLUME_END, NULL, 0, &s->fail);
        if (err == 0) return 0;
        if (s->fail.err != 0) v.fail = s->fail;
        s->work->lost = s->fail.err != 0 && is_lost(s->fail.err);
        return ship_volume_failed(t, &v, err, "it cannot be sent");
}

/* What the receiver says in the end. */
static int receipt(struct sender *s, struct trouble *t)
{
        enum ship_type type = SHIP_HELLO;
        const uint8_t *text = NULL;
        size_t n = 0;
        int err = ship_send(&s->link, SHIP_ALL, NULL, 0, &s->fail);
        if (err == 0) err = ship_recv(&s->link, &type, &text, &n, &s->fail);
        if (err == 0 && type == SHIP_DONE) return 0;
        if (err == 0 && type == SHIP_REFUSED)
                (void)fail_set(&s->fail, E_PROGRAM, "the other cluster could not store it: %.*s",
                        (int)MIN(n, 180), (const char *)text);
        else if (err == 0) (void)fail_set(&s->fail, E_PROTOCOL, "the other side gave no receipt");
        s->work->lost = is_lost(s->fail.err);
        return failed(t, s->work, &s->fail, "could not be sent to the other cluster");
}

int ship_peer_send(struct ship_work *w, struct trouble *t)
{
        struct sender s = { .work = w };
        const struct ship_peer p = peer_of(w);
        char own[SHIP_KEY_HEX];
        sodium_bin2hex(own, sizeof own, w->keys.own, SHIP_KEY);
        int err = 0;
        w->lost = true;
        if (w->ship->own_key == NULL || strcmp(own, w->ship->own_key) != 0)
                err = fail_set(&s.fail, E_CLOSED, "the satellite was restarted");
        if (err == 0) err = ship_connect(&s.link, &p, w->ship->address, (unsigned)w->ship->port, &s.fail);
        if (err != 0) return failed(t, w, &s.fail, "could not be sent to the other cluster");
        w->lost = false;
        for (uint32_t i = 0; i < w->ship->volumes_n && err == 0; i++) err = send_volume(&s, i, t);
        if (err == 0) err = receipt(&s, t);
        ship_link_close(&s.link, false);
        buf_done(&s.pending);
        return err;
}

/* ---- receiver ---- */

struct receiver {
        struct ship_work *work;
        struct ship_link *link;
        struct ship_volume v;
        bool taken;            /* the volume's stream */
        struct fail link_fail; /* of the connection */
};

/* The next record of the volume: E_NOT_FOUND after the last. */
static int next_data(struct receiver *r, const uint8_t **ret, size_t *ret_n)
{
        enum ship_type type;
        int err = ship_recv(r->link, &type, ret, ret_n, &r->link_fail);
        if (err != 0) return err;
        atomic_fetch_add(&r->work->done_kib, *ret_n / 1024);
        if (type == SHIP_DATA) return 0;
        return type == SHIP_VOLUME_END
                       ? E_NOT_FOUND
                       : fail_set(&r->link_fail, E_PROTOCOL, "a volume does not end as it must");
}

static int begin_volume(struct receiver *r)
{
        enum ship_type type;
        const uint8_t *data;
        uint8_t number[8];
        size_t n;
        int err = ship_recv(r->link, &type, &data, &n, &r->link_fail);
        put_number(number, r->v.vlm->volume_number);
        if (err == 0 && (type != SHIP_VOLUME || n != sizeof number || memcmp(data, number, n) != 0))
                err = fail_set(&r->link_fail, E_PROTOCOL, "another volume comes than was asked for");
        return err;
}

static int fill(void *arg, int fd, struct trouble *t)
{
        struct receiver *r = arg;
        struct ship_in in;
        const uint8_t *data;
        size_t n = 0;
        ship_in_open(&in, fd, r->v.vlm->size_kib * 1024, ship_volume_base(&r->v) != NULL);
        r->taken = true;
        int err = begin_volume(r);
        while (err == 0) {
                err = next_data(r, &data, &n);
                if (err == 0) err = ship_in_feed(&in, data, n);
        }
        int end = ship_in_close(&in);
        if (err == E_NOT_FOUND) err = end;
        if (err == 0) return 0;
        r->v.fail = r->link_fail;
        return ship_volume_failed(t, &r->v, err, "it cannot be received");
}

/* It is there from an earlier attempt. */
static int skip(struct receiver *r)
{
        const uint8_t *data;
        size_t n;
        int err = begin_volume(r);
        while (err == 0) err = next_data(r, &data, &n);
        return err == E_NOT_FOUND ? 0 : err;
}

static int receive_all(struct receiver *r, struct trouble *t)
{
        const struct sat_ship *s = r->work->ship;
        enum ship_type type;
        const uint8_t *data;
        size_t n;
        atomic_store(&r->work->done_kib, 0);
        for (uint32_t i = 0; i < s->volumes_n; i++) {
                int err = ship_volume_open(r->work, i, &r->v, t);
                r->taken = false;
                if (err == 0) err = ship_receive(&r->v, fill, r, t);
                if (err == 0 && !r->taken) err = skip(r);
                if (err != 0) return err;
        }
        int err = ship_recv(r->link, &type, &data, &n, &r->link_fail);
        if (err == 0 && type != SHIP_ALL)
                err = fail_set(&r->link_fail, E_PROTOCOL, "more comes than was asked for");
        return err;
}

/* 0: it is here. E_BUSY: the connection was lost; another one may come. */
static int serve(struct ship_work *w, struct ship_link *link, struct trouble *t)
{
        struct receiver r = { .work = w, .link = link };
        struct fail ignored = { 0 };
        char text[512];
        int err = receive_all(&r, t);
        bool lost = r.link_fail.err != 0, said = false;
        if (err == 0) said = ship_send(link, SHIP_DONE, NULL, 0, &ignored) == 0;
        else if (!lost) {
                int n = snprintf(text, sizeof text, "%s %s", t->message, t->cause);
                said = ship_send(link, SHIP_REFUSED, text, MIN((size_t)MAX(n, 0), sizeof text - 1),
                               &ignored) == 0;
        }
        ship_link_close(link, said);
        if (err == 0) return 0;
        if (err == E_CANCELED || r.link_fail.err == E_CANCELED)
                return failed(t, w, &(struct fail){ .err = E_CANCELED, .text = "it was stopped" },
                        "was not received");
        return lost ? E_BUSY : err;
}

int ship_peer_receive(struct ship_work *w, struct trouble *t)
{
        const struct ship_peer p = peer_of(w);
        struct ship_link link;
        struct fail f = { 0 };
        unsigned port = 0;
        int err = E_BUSY;
        int listening = ship_listen(
                w->ship->address, (unsigned)w->ship->port, (unsigned)w->ship->port_max, &port, &f);
        if (listening < 0) return failed(t, w, &f, "cannot be received");
        atomic_store(&w->port, port);
        w->listens(w);
        while (err == E_BUSY) {
                err = ship_accept(&link, &p, listening, LISTEN_MS, &f);
                if (err != 0) err = failed(t, w, &f, "was not received from the other cluster");
                else err = serve(w, &link, t);
        }
        close(listening);
        if (err == 0) *t = (struct trouble){ 0 };
        return err;
}
