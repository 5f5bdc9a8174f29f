/* Streams of server-sent events: what controller/view/events.h tells, sent to clients that stay.
 *
 * The happy path: rest_stream_send (HTTP thread) looks at the state, puts the stream into the list and queues a response without length -
 * libmicrohttpd asks on_read for bytes - when there are none, the connection is suspended - a change of the state (rest_on_change) makes
 * the next tick of the loop wake it - the first reader that is woken looks at the state for all of them. A beat (an empty comment) every
 * BEAT_MS finds clients that are gone without a word. Failures: a client that does not read is not asked again by libmicrohttpd, and cut
 * by the sweep after send_ms; one that is gone, and all when their listener leaves (the quorum is lost, the process ends), get the end of
 * the stream. The request's end takes the stream out of the list, the response's end frees it. */
#include <stdlib.h>
#include <string.h>

#include "controller/rest/rest_internal.h"
#include "wire/base/log.h"

#define BEAT_MS 15000
#define BLOCK_BYTES ((size_t)16 << 10)

struct stream {
        struct list node; /* streams.list, while the request lives */
        struct rest *rest;
        struct conn *conn; /* while it is in the list */
        struct MHD_Connection *mhd;
        enum events_kind kind;
        /* under streams.mutex */
        struct events_reader reader;
        bool suspended, beat, stop;
        /* HTTP thread */
        struct buf out; /* taken from the ring, not sent yet */
        size_t sent;
};

void rest_streams_init(struct rest *r)
{
        pthread_mutex_init(&r->streams.mutex, NULL);
        list_init(&r->streams.list);
}

void rest_streams_done(struct rest *r)
{
        for (unsigned i = 0; i < EVENTS_KINDS_N; i++) events_free(r->streams.events[i]);
        pthread_mutex_destroy(&r->streams.mutex);
}

void rest_on_change(struct rest *r)
{
        atomic_fetch_add_explicit(&r->streams.changes, 1, memory_order_release);
}

/* mutex held. Looks at the state when it has changed since the last look. */
static int look(struct rest *r, enum events_kind kind)
{
        struct rest_streams *s = &r->streams;
        const struct rest_backend *b = r->config.backend;
        struct rest_view v = { 0 };
        uint64_t changes = atomic_load_explicit(&s->changes, memory_order_acquire), incarnation;
        if (s->events[kind] != NULL && s->seen[kind] == changes) return 0;
        int err = b->view_begin(r->config.backend_arg, &v);
        if (err != 0) return err;
        if (s->events[kind] == NULL) {
                memcpy(&incarnation, r->incarnation, sizeof incarnation);
                s->events[kind] = events_new(kind, incarnation);
        }
        err = events_look(s->events[kind], v.wanted, v.observed);
        if (err == 0) s->seen[kind] = changes;
        b->view_end(r->config.backend_arg, &v);
        return err;
}

/* mutex held. */
static void wake(struct stream *s)
{
        if (!s->suspended) return;
        s->suspended = false;
        MHD_resume_connection(s->mhd);
}

void rest_streams_tick(struct rest *r)
{
        struct rest_streams *s = &r->streams;
        uint64_t now = r->env->now_ms(r->env),
                 changes = atomic_load_explicit(&s->changes, memory_order_acquire);
        pthread_mutex_lock(&s->mutex);
        bool beat = s->n > 0 && now >= s->beat_ms + BEAT_MS;
        if (beat) s->beat_ms = now;
        LIST_FOREACH(it, &s->list)
        {
                struct stream *x = container_of(it, struct stream, node);
                bool tcp = x->conn->listener != REST_UNIX;
                if (tcp ? atomic_load(&r->leaving_tcp) : atomic_load(&r->leaving_all)) x->stop = true;
                x->beat |= beat;
                /* Another reader may have looked already. */
                if (x->stop || x->beat || s->seen[x->kind] != changes ||
                        events_pending(s->events[x->kind], &x->reader))
                        wake(x);
        }
        pthread_mutex_unlock(&s->mutex);
}

void rest_stream_stop(struct conn *c)
{
        struct rest_streams *s = &c->rest->streams;
        pthread_mutex_lock(&s->mutex);
        LIST_FOREACH(it, &s->list)
        {
                struct stream *x = container_of(it, struct stream, node);
                if (x->conn != c) continue;
                x->stop = true;
                wake(x);
        }
        pthread_mutex_unlock(&s->mutex);
}

/* mutex held. Fills x->out; nothing there = nothing to send. */
static void fetch(struct stream *x)
{
        struct rest *r = x->rest;
        int err = look(r, x->kind);
        if (err != 0) log_debug("rest", "streams of events: %s", err_text(err));
        buf_reset(&x->out);
        x->sent = 0;
        events_read(r->streams.events[x->kind], &x->reader, BLOCK_BYTES, &x->out);
        if (x->out.n == 0 && x->beat) buf_put_str(&x->out, ":\n\n");
        x->beat = false;
}

static ssize_t on_read(void *cls, uint64_t pos, char *to, size_t max)
{
        struct stream *x = cls;
        struct rest_streams *s = &x->rest->streams;
        size_t n = x->out.n - x->sent;
        rest_conn_phase(x->conn, CONN_STREAMING); /* what was sent before has been taken */
        if (n == 0) {
                pthread_mutex_lock(&s->mutex);
                bool stop = x->stop;
                if (!stop) fetch(x);
                n = x->out.n - x->sent;
                if (!stop && n == 0 && x->out.err == 0) {
                        x->suspended = true;
                        MHD_suspend_connection(x->mhd);
                }
                pthread_mutex_unlock(&s->mutex);
                if (stop || x->out.err != 0) return MHD_CONTENT_READER_END_OF_STREAM;
        }
        n = MIN(n, max);
        if (n > 0) memcpy(to, x->out.p + x->sent, n);
        x->sent += n;
        return (ssize_t)n;
}

static void on_free(void *cls)
{
        struct stream *x = cls;
        buf_done(&x->out);
        events_reader_done(&x->reader);
        free(x);
}

/* mutex held. NULL: there are too many, or the state cannot be read. */
static struct stream *enter(struct exchange *x, enum events_kind kind)
{
        struct rest *r = x->conn->rest;
        struct rest_streams *s = &r->streams;
        if (s->n >= REST_STREAMS_MAX) x->err = E_LIMIT;
        else x->err = look(r, kind);
        if (x->err != 0) return NULL;
        struct stream *stream = xnew(struct stream);
        stream->rest = r;
        stream->conn = x->conn;
        stream->mhd = x->mhd;
        stream->kind = kind;
        events_begin(s->events[kind], MHD_lookup_connection_value(x->mhd, MHD_HEADER_KIND, "Last-Event-ID"),
                &stream->reader);
        stream->beat = true; /* the first bytes come at once */
        list_push_back(&s->list, &stream->node);
        if (s->n++ == 0) s->beat_ms = r->env->now_ms(r->env);
        return stream;
}

enum MHD_Result rest_stream_send(struct exchange *x, enum events_kind kind)
{
        struct rest_streams *s = &x->conn->rest->streams;
        pthread_mutex_lock(&s->mutex);
        x->stream = enter(x, kind);
        pthread_mutex_unlock(&s->mutex);
        if (x->stream == NULL) {
                rest_render(x);
                return rest_send(x);
        }
        struct MHD_Response *m =
                MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_read, x->stream, on_free);
        if (m == NULL) {
                struct stream *stream = x->stream;
                rest_stream_end(x);
                on_free(stream);
                return MHD_NO;
        }
        x->content_type = "text/event-stream";
        x->status = 200;
        rest_headers(x, m, 1, false);
        x->step = X_ANSWERED;
        rest_conn_phase(x->conn, CONN_STREAMING);
        enum MHD_Result result = MHD_queue_response(x->mhd, x->status, m);
        MHD_destroy_response(m);
        return result;
}

void rest_stream_end(struct exchange *x)
{
        if (x->stream == NULL) return;
        struct rest_streams *s = &x->conn->rest->streams;
        pthread_mutex_lock(&s->mutex);
        list_remove(&x->stream->node);
        x->stream->conn = NULL;
        s->n--;
        pthread_mutex_unlock(&s->mutex);
        x->stream = NULL;
}
