#include "controller/view/events.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controller/view/view_internal.h"
#include "wire/base/mem.h"

/* One node, or one resource on a node. */
struct item {
        char *key;      /* what it is sorted by, case ignored */
        char *json;     /* nodes: as the API shows it; promotion: names of resource and node as JSON */
        uint64_t flags; /* nodes: theirs; promotion: 1 = may be promoted */
};
struct items {
        struct item *list;
        size_t n, cap;
};

struct event {
        char *text; /* "event: ...\nid: ...\ndata: ...\n\n" */
        size_t n;
};

struct events {
        enum events_kind kind;
        uint64_t incarnation;
        bool looked;
        struct items now;
        struct event ring[EVENTS_MAX]; /* event k is at k % EVENTS_MAX */
        uint64_t first, next;          /* those in the ring: first <= k < next */
        size_t bytes;
};

struct events *events_new(enum events_kind kind, uint64_t incarnation)
{
        struct events *e = xnew(struct events);
        e->kind = kind;
        e->incarnation = incarnation;
        e->first = e->next = 1;
        return e;
}

static void items_done(struct items *x)
{
        for (size_t i = 0; i < x->n; i++) {
                free(x->list[i].key);
                free(x->list[i].json);
        }
        free(x->list);
        *x = (struct items){ 0 };
}

static void drop_first(struct events *e)
{
        struct event *old = &e->ring[e->first++ % EVENTS_MAX];
        e->bytes -= old->n;
        free(old->text);
        *old = (struct event){ 0 };
}

void events_free(struct events *e)
{
        if (e == NULL) return;
        while (e->first < e->next) drop_first(e);
        items_done(&e->now);
        free(e);
}

/* ---- texts ---- */

/* The parts of data follow each other. id 0 = none. */
static void put_event(
        const struct events *e, uint64_t id, const char *name, struct buf *out, const char *const data[4])
{
        buf_printf(out, "event: %s\n", name);
        if (id != 0) buf_printf(out, "id: %016" PRIx64 ".%" PRIu64 "\n", e->incarnation, id);
        buf_put_str(out, "data: ");
        for (int i = 0; i < 4; i++) buf_put_str(out, data[i]);
        buf_put_str(out, "\n\n");
}
#define DATA(a, b, c, d) ((const char *const[4]){ a, b, c, d })

static void put_item(const struct events *e, uint64_t id, const char *name, struct buf *out,
        const struct item *x, bool gone)
{
        if (e->kind == EVENTS_NODES) put_event(e, id, name, out, DATA("{\"node\":", x->json, "}", ""));
        else put_event(e, id, name, out, DATA(x->json, x->flags != 0 && !gone ? "true" : "false", "}", ""));
}

static void keep(struct events *e, struct buf *text)
{
        struct event x = { 0 };
        x.text = (char *)buf_take(text, &x.n);
        while (e->next - e->first >= EVENTS_MAX || (e->first < e->next && e->bytes + x.n > EVENTS_BYTES_MAX))
                drop_first(e);
        e->ring[e->next++ % EVENTS_MAX] = x;
        e->bytes += x.n;
}

static void tell(struct events *e, const char *name, const struct item *before, const struct item *after)
{
        struct buf text = { 0 };
        if (before != NULL && after != NULL && strcmp(name, "node-modified") == 0) {
                put_event(e, e->next, name, &text,
                        DATA("{\"old_node\":", before->json, ",\"new_node\":", after->json));
                text.n -= 2; /* the object's end is missing */
                buf_put_str(&text, "}\n\n");
        } else {
                put_item(e, e->next, name, &text, after != NULL ? after : before, after == NULL);
        }
        keep(e, &text);
}

/* ---- differences ---- */

static void node_changed(struct events *e, const struct item *before, const struct item *after)
{
        if (before == NULL) tell(e, "node-create", NULL, after);
        if (after == NULL) tell(e, "node-delete", before, NULL);
        if (before == NULL || after == NULL) return;
        bool evicted = (after->flags & node_flag_EVICTED) == node_flag_EVICTED;
        bool was_evicted = (before->flags & node_flag_EVICTED) == node_flag_EVICTED;
        bool leaves = (after->flags & node_flag_EVACUATE) != 0,
             left = (before->flags & node_flag_EVACUATE) != 0;
        if (evicted && !was_evicted) tell(e, "node-evicted", before, after);
        if (leaves && !left) tell(e, "node-evacuate", before, after);
        if ((was_evicted || left) && !evicted && !leaves) tell(e, "node-restored", before, after);
        if (strcmp(before->json, after->json) != 0) tell(e, "node-modified", before, after);
}

/* What is gone could have been promoted, and cannot be any more. */
static void promotion_changed(struct events *e, const struct item *before, const struct item *after)
{
        uint64_t was = before != NULL ? before->flags : 0, is = after != NULL ? after->flags : 0;
        if (was != is || before == NULL) tell(e, "may-promote-change", before, after);
}

static void compare(struct events *e, const struct items *before, const struct items *after)
{
        size_t i = 0, j = 0;
        while (i < before->n || j < after->n) {
                const struct item *a = i < before->n ? &before->list[i] : NULL;
                const struct item *b = j < after->n ? &after->list[j] : NULL;
                int order = a == NULL ? 1 : b == NULL ? -1 : strcasecmp(a->key, b->key);
                if (order < 0) b = NULL;
                if (order > 0) a = NULL;
                if (e->kind == EVENTS_NODES) node_changed(e, a, b);
                else promotion_changed(e, a, b);
                i += a != NULL;
                j += b != NULL;
        }
}

/* ---- looking ---- */

static void add(struct items *x, char *key, struct buf *json, uint64_t flags)
{
        size_t n;
        if (x->n == x->cap) {
                x->cap = 2 * x->cap + 16;
                x->list = xrealloc(x->list, x->cap * sizeof *x->list);
        }
        (void)buf_cstr(json);
        x->list[x->n++] = (struct item){ .key = key, .json = (char *)buf_take(json, &n), .flags = flags };
}

static int look_nodes(struct tx *wanted, struct tx *observed, struct items *ret)
{
        struct row_scan scan;
        struct arena a = { 0 };
        struct node n;
        row_scan_open(&scan, wanted, &node_type, NULL, 0);
        while (row_scan_next(&scan, &a, &n)) {
                struct buf json = { 0 };
                view_node_observed(observed, &n, &a);
                enc_json(&node_type, &n, JSON_API, &json);
                add(ret, xstrdup(n.name), &json, n.flags);
                arena_reset(&a);
        }
        row_scan_close(&scan);
        arena_done(&a);
        return wanted->err != 0 ? wanted->err : observed != NULL ? observed->err : 0;
}

static int look_promotion(struct tx *observed, struct items *ret)
{
        struct row_scan scan;
        struct arena a = { 0 };
        struct obs_rsc r;
        if (observed == NULL) return 0;
        row_scan_open(&scan, observed, &obs_rsc_type, NULL, 0);
        while (row_scan_next(&scan, &a, &r)) {
                struct buf json = { 0 };
                struct event_may_promote x = { 0 };
                if (r.drbd != NULL && HAS(r.drbd, obs_drbd, may_promote)) {
                        SET(&x, event_may_promote, resource_name, r.rsc_name);
                        SET(&x, event_may_promote, node_name, r.node_name);
                        enc_json(&event_may_promote_type, &x, JSON_API, &json);
                        json.n -= strlen("false}"); /* the value that changes is put behind it */
                        add(ret, xasprintf("%s/%s", r.rsc_name, r.node_name), &json,
                                r.drbd->may_promote ? 1 : 0);
                }
                arena_reset(&a);
        }
        row_scan_close(&scan);
        arena_done(&a);
        return observed->err;
}

static int by_key(const void *a, const void *b)
{
        const struct item *x = a, *y = b;
        return strcasecmp(x->key, y->key);
}

int events_look(struct events *e, struct tx *wanted, struct tx *observed)
{
        struct items now = { 0 };
        int err =
                e->kind == EVENTS_NODES ? look_nodes(wanted, observed, &now) : look_promotion(observed, &now);
        if (err != 0) {
                items_done(&now);
                return err;
        }
        if (now.n > 1) qsort(now.list, now.n, sizeof *now.list, by_key);
        if (e->looked) compare(e, &e->now, &now);
        e->looked = true;
        items_done(&e->now);
        e->now = now;
        return 0;
}

/* ---- readers ---- */

void events_begin(const struct events *e, const char *last_id, struct events_reader *ret)
{
        char *end = NULL;
        *ret = (struct events_reader){ .next = e->next };
        if (last_id == NULL || last_id[0] == '\0') return;
        uint64_t incarnation = strtoull(last_id, &end, 16), id = 0;
        bool ours = end != last_id && *end == '.' && incarnation == e->incarnation;
        if (ours) id = strtoull(end + 1, &end, 10);
        ours = ours && *end == '\0' && id + 1 >= e->first && id < e->next;
        if (ours) ret->next = id + 1;
        else ret->state = true;
}

void events_reader_done(struct events_reader *r)
{
        free(r->after);
        r->after = NULL;
}

bool events_pending(const struct events *e, const struct events_reader *r)
{
        return r->state || r->next < e->next;
}

/* The first item behind that key. */
static size_t item_behind(const struct events *e, const char *key)
{
        size_t low = 0, high = key == NULL ? 0 : e->now.n;
        while (low < high) {
                size_t mid = low + (high - low) / 2;
                if (strcasecmp(e->now.list[mid].key, key) <= 0) low = mid + 1;
                else high = mid;
        }
        return low;
}

/* One item of the state; events that came since its beginning follow it, and change nothing twice that would matter. */
static void read_state(const struct events *e, struct events_reader *r, struct buf *out)
{
        size_t i = item_behind(e, r->after);
        if (r->after == NULL) {
                r->next = e->next;
                buf_put_str(out, ": the state as it is now\n\n");
        }
        events_reader_done(r);
        r->state = i < e->now.n;
        if (!r->state) return;
        r->state = i + 1 < e->now.n;
        if (r->state) r->after = xstrdup(e->now.list[i].key);
        put_item(e, r->state ? 0 : r->next - 1,
                e->kind == EVENTS_NODES ? "node-create" : "may-promote-change", out, &e->now.list[i], false);
}

void events_read(const struct events *e, struct events_reader *r, size_t max_bytes, struct buf *out)
{
        size_t had = out->n;
        if (r->next < e->first) {
                events_reader_done(r);
                r->state = true;
        }
        while (r->state && out->n - had < max_bytes) read_state(e, r, out);
        for (; !r->state && r->next < e->next; r->next++) {
                const struct event *x = &e->ring[r->next % EVENTS_MAX];
                if (out->n > had && out->n - had + x->n > max_bytes) return;
                buf_put(out, x->text, x->n);
        }
}
