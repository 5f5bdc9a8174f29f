#include "tests/lib/rest_fake.h"

#include <stdlib.h>
#include <string.h>

#include "controller/base/apirc.h"
#include "controller/base/route.h"
#include "wire/codec/codec.h"

struct pending {
        struct list node;
        struct rest_fake *fake;
        uint64_t due_ms, deadline_ms;
        bool is_wait, never, fails;
        int err;
        struct buf reply;
        driver_reply_fn *reply_cb;
        driver_read_fn *read_cb;
        rest_waited_fn *waited_cb;
        void *cb_arg;
};

static uint64_t now_ms(struct rest_fake *f) { return f->env->now_ms(f->env); }

static void answer(struct pending *p, int err)
{
        struct rest_fake *f = p->fake;
        list_remove(&p->node);
        if (p->reply_cb) p->reply_cb(p->cb_arg, err, f->index, f->no_term ? 0 : f->term, buf_blob(&p->reply));
        else if (p->read_cb) p->read_cb(p->cb_arg, err, f->index, f->term);
        else {
                struct arena a = { 0 };
                struct api_rc rc;
                if (p->fails) apirc_init(&rc, RC_FAIL_UNKNOWN_ERROR, 0, 0, "it was not done", 0, &a);
                else apirc_init(&rc, RC_WARN_NOT_CONNECTED, 0, 0, "the node is offline", 0, &a);
                p->waited_cb(p->cb_arg, &rc, 1);
                arena_done(&a);
        }
        buf_done(&p->reply);
        free(p);
}

static void look(struct rest_fake *f)
{
        uint64_t now = now_ms(f);
        LIST_FOREACH_SAFE(it, nx, &f->pending)
        {
                struct pending *p = container_of(it, struct pending, node);
                if (p->never) continue;
                if ((f->quorum || p->is_wait) && now >= p->due_ms) answer(p, p->err);
                else if (now >= p->deadline_ms) answer(p, E_NO_QUORUM);
        }
}

static void on_timer(uv_timer_t *timer)
{
        struct rest_fake *f = timer->data;
        look(f);
        if (list_empty(&f->pending)) uv_timer_stop(timer);
}

static void on_idle(uv_idle_t *idle)
{
        struct rest_fake *f = idle->data;
        uv_idle_stop(idle);
        look(f);
        /* What is not due yet is looked at again. */
        if (!list_empty(&f->pending)) uv_timer_start(&f->timer, on_timer, 5, 5);
}

static struct pending *add(struct rest_fake *f, uint64_t deadline_ms, void *cb_arg)
{
        struct pending *p = xnew(struct pending);
        p->fake = f;
        p->deadline_ms = deadline_ms;
        p->cb_arg = cb_arg;
        list_push_back(&f->pending, &p->node);
        uv_idle_start(&f->idle, on_idle);
        return p;
}

/* The answer says what was asked: message "METHOD path?query", details the size of the body. */
static void make_reply(struct pending *p, const struct request *q, const struct query *query, struct arena *a)
{
        struct reply reply = { 0 };
        struct api_rc rc;
        bool again = p->fake->submits <= query_u64(query, "fake_again");
        bool error = again || query_get(query, "fake_refuse") != NULL;
        uint64_t status = query_u64(query, "fake_status"), waits = query_u64(query, "fake_waits");
        const char *text = arena_printf(a, "%s %s?%s", q->method, q->path, q->query ? q->query : "");
        apirc_init(&rc, error ? RC_FAIL_INVLD_NODE_NAME : RC_CREATED, RC_OP_CREATE, RC_OBJ_NODE, text, 0, a);
        SET(&rc, api_rc, details, arena_printf(a, "%zu", q->body.n));
        SET(&reply, reply, status, status ? status : error ? 500 : 201);
        SET_N(&reply, reply, rcs, &rc, 1);
        struct wait_item *items = arena_array(a, struct wait_item, waits + 1);
        for (uint32_t i = 0; i < waits; i++) {
                SET(&items[i], wait_item, node_name, "n1");
                SET(&items[i], wait_item, revision, p->fake->index);
                if (query_get(query, "fake_saga") != NULL) SET(&items[i], wait_item, saga, "u1");
                if (query_get(query, "fake_fails") != NULL) SET(&items[i], wait_item, slow, true);
        }
        if (waits) SET_N(&reply, reply, waits, items, (uint32_t)waits);
        if (again) SET(&reply, reply, ask_again, true);
        if (query_get(query, "fake_garbage")) buf_put_str(&p->reply, "\xc1garbage");
        else enc_msgpack(&reply_type, &reply, &p->reply);
}

static void fake_submit(void *arg, const uint8_t id[REQUEST_ID_SIZE], struct blob request,
        uint64_t deadline_ms, driver_reply_fn *cb, void *cb_arg)
{
        struct rest_fake *f = arg;
        struct arena a = { 0 };
        struct request q = { 0 };
        struct query query;
        struct pending *p = add(f, deadline_ms, cb_arg);
        p->reply_cb = cb;
        f->submits++;
        f->index++;
        memcpy(f->last_id, id, REQUEST_ID_SIZE);
        if (dec_msgpack(&request_type, request, DEC_STRICT, &a, &q, NULL) != 0) abort();
        f->reports += strcmp(q.path, "/internal/error-report") == 0;
        query_parse(q.query, &a, &query);
        p->due_ms = now_ms(f) + query_u64(&query, "fake_ms");
        p->err = -(int)query_u64(&query, "fake_err");
        p->never = query_get(&query, "fake_never") != NULL;
        make_reply(p, &q, &query, &a);
        arena_done(&a);
}

static void fake_read(void *arg, uint64_t deadline_ms, driver_read_fn *cb, void *cb_arg)
{
        struct rest_fake *f = arg;
        f->reads++;
        add(f, deadline_ms, cb_arg)->read_cb = cb;
}

static void fake_wait(void *arg, const struct wait_item *items, uint32_t n, uint64_t deadline_ms,
        uint64_t ready_ms, rest_waited_fn *cb, void *cb_arg)
{
        struct rest_fake *f = arg;
        struct pending *p = add(f, deadline_ms, cb_arg);
        f->waits += n;
        p->is_wait = true;
        p->waited_cb = cb;
        p->fails = items[0].slow;
        p->due_ms = now_ms(f) + 20;
}

static void fake_status(void *arg, struct driver_status *ret)
{
        struct rest_fake *f = arg;
        *ret = (struct driver_status){ .id = 1,
                .term = f->term,
                .leader_id = f->quorum,
                .commit_index = f->index,
                .applied_index = f->index,
                .state = DRIVER_LEADER,
                .has_quorum = f->quorum,
                .no_quorum_since_ms = f->no_quorum_since_ms,
                .members_n = 1 };
}

/* ---- an empty state ---- */

static int empty_get(struct tx *tx, struct blob key, struct blob *ret) { return E_NOT_FOUND; }
static int empty_seek(struct tx *tx, struct tx_cursor *c, struct blob from) { return E_NOT_FOUND; }
static int empty_next(struct tx *tx, struct tx_cursor *c) { return E_NOT_FOUND; }
static void empty_close(struct tx *tx, struct tx_cursor *c) {}
static const struct tx_ops empty_ops = {
        .get = empty_get, .seek = empty_seek, .next = empty_next, .close = empty_close
};

static int fake_view_begin(void *arg, struct rest_view *ret)
{
        struct rest_fake *f = arg;
        if (f->wanted != NULL) {
                *ret = (struct rest_view){ .wanted = kv_mem_read(f->wanted), .index = 7 };
                return 0;
        }
        struct tx *tx = xnew(struct tx);
        tx->ops = &empty_ops;
        *ret = (struct rest_view){ .wanted = tx, .index = 7 };
        return 0;
}

static void fake_view_end(void *arg, struct rest_view *view)
{
        struct rest_fake *f = arg;
        if (f->wanted != NULL) kv_mem_end(view->wanted);
        else free(view->wanted);
}

const struct rest_backend rest_fake_backend = { .submit = fake_submit,
        .read = fake_read,
        .status = fake_status,
        .view_begin = fake_view_begin,
        .view_end = fake_view_end };
const struct rest_waiter rest_fake_waiter = { .wait = fake_wait };

void rest_fake_open(struct rest_fake *f, uv_loop_t *loop, struct env *env)
{
        *f = (struct rest_fake){ .loop = loop, .env = env, .quorum = true, .index = 1, .term = 1 };
        list_init(&f->pending);
        uv_timer_init(loop, &f->timer);
        uv_idle_init(loop, &f->idle);
        f->timer.data = f->idle.data = f;
}

void rest_fake_quorum(struct rest_fake *f, bool quorum)
{
        f->quorum = quorum;
        f->no_quorum_since_ms = quorum ? 0 : now_ms(f);
}

void rest_fake_close(struct rest_fake *f)
{
        f->closed = true;
        LIST_FOREACH_SAFE(it, nx, &f->pending)
        {
                f->canceled++;
                answer(container_of(it, struct pending, node), E_CANCELED);
        }
        uv_close((uv_handle_t *)&f->timer, NULL);
        uv_close((uv_handle_t *)&f->idle, NULL);
}
