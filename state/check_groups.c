/* What several rows must agree on, see check_internal.h. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "state/check_internal.h"
#include "state/request.h"
#include "wire/def/types.h"

static const char *text(const char *s) { return s != NULL ? s : ""; }

/* ---- holders of minors and ports ---- */

struct holders {
        struct checker *c;
        const char *what;
        uint64_t number;
        const char *node; /* NULL: everywhere */
        char first[TX_KEY_MAX + 1];
        unsigned n, live_n;
};

static void add_holder(struct holders *h, const char *rsc, bool live)
{
        h->live_n += live;
        if (h->n++ == 0) {
                snprintf(h->first, sizeof h->first, "%s", rsc);
                return;
        }
        if (strcasecmp(h->first, rsc) == 0) return;
        check_finding(h->c, "%s %llu%s%s is held by %s and by %s", h->what, (unsigned long long)h->number,
                h->node != NULL ? " of node " : "", text(h->node), h->first, rsc);
}

static bool visit_minor(void *arg, struct checked_row *row, struct arena *a)
{
        const struct idx_minor *o = row->obj;
        (void)a;
        add_holder(arg, text(o->rsc_name), text(o->node_name)[0] == '\0');
        return true;
}

static void check_minor(struct checker *c, uint64_t minor)
{
        struct holders h = { .c = c, .what = "DRBD minor", .number = minor };
        struct idx_minor key = { .minor = minor };
        check_each(c, &idx_minor_type, &key, 1, visit_minor, &h);
        if (h.live_n > 1)
                check_finding(c, "DRBD minor %llu is held by %u volume definitions of %s",
                        (unsigned long long)minor, h.live_n, h.first);
}

static bool visit_port(void *arg, struct checked_row *row, struct arena *a)
{
        const struct idx_port *o = row->obj;
        (void)a;
        add_holder(arg, text(o->rsc_name), text(o->uuid)[0] == '\0');
        return true;
}

static void check_port(struct checker *c, const char *node, uint64_t port)
{
        struct holders h = { .c = c, .what = "port", .number = port, .node = text(node) };
        struct idx_port key = { .node_name = text(node), .port = port };
        check_each(c, &idx_port_type, &key, 2, visit_port, &h);
}

/* ---- node ids of a resource ---- */

enum { NODE_IDS = 64 };
struct node_ids {
        struct checker *c;
        const char *rsc;
        uint64_t seen; /* a bit for each id; DRBD has 32 */
};

static bool visit_node_id(void *arg, struct checked_row *row, struct arena *a)
{
        struct node_ids *ids = arg;
        const struct rsc *o = row->obj;
        if (!HAS(o, rsc, drbd_node_id)) return true;
        if (o->drbd_node_id < 0 || o->drbd_node_id >= NODE_IDS) {
                check_finding(ids->c, "%s has the node id %lld", check_key_text(row->key, a),
                        (long long)o->drbd_node_id);
                return true;
        }
        uint64_t bit = UINT64_C(1) << o->drbd_node_id;
        if (ids->seen & bit)
                check_finding(ids->c, "%s has node id %lld, which another node of the resource has too",
                        check_key_text(row->key, a), (long long)o->drbd_node_id);
        ids->seen |= bit;
        return true;
}

static void check_node_ids(struct checker *c, const char *rsc)
{
        struct node_ids ids = { .c = c, .rsc = text(rsc) };
        struct rsc key = { .rsc_name = ids.rsc };
        check_each(c, &rsc_type, &key, 1, visit_node_id, &ids);
}

/* ---- sums of pools ---- */

struct sums {
        struct checker *c;
        const char *node, *pool;
        uint64_t kib, volumes;
};

static void add_volumes(struct sums *s, const struct vlm *v, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                if (strcasecmp(text(v[i].storage_pool_name), s->pool) != 0) continue;
                if (v[i].provider_kind == provider_kind_DISKLESS) continue;
                s->kib += v[i].size_kib;
                s->volumes++;
        }
}

static bool visit_user(void *arg, struct checked_row *row, struct arena *a)
{
        struct sums *s = arg;
        const struct idx_pool_rsc *o = row->obj;
        const struct type_desc *t = text(o->uuid)[0] == '\0' ? &rsc_type : &tombstone_type;
        struct rsc live = { .has = UINT64_MAX, .rsc_name = text(o->rsc_name), .node_name = s->node };
        struct tombstone dead = {
                .has = UINT64_MAX, .node_name = s->node, .rsc_name = text(o->rsc_name), .uuid = text(o->uuid)
        };
        struct buf key = { 0 };
        void *obj;
        enc_key(t, t == &rsc_type ? (const void *)&live : (const void *)&dead, &key);
        if (check_load(s->c, t, buf_blob(&key), a, &obj) == 0) { /* a missing one is the index's finding */
                const struct rsc *r = obj;
                const struct tombstone *d = obj;
                add_volumes(s, t == &rsc_type ? r->volumes : d->volumes,
                        t == &rsc_type ? r->volumes_n : d->volumes_n);
                add_volumes(s, t == &rsc_type ? r->extras : d->extras,
                        t == &rsc_type ? r->extras_n : d->extras_n);
        }
        buf_done(&key);
        return true;
}

static void check_usage(struct checker *c, const char *node, const char *pool)
{
        struct sums s = { .c = c, .node = text(node), .pool = text(pool) };
        struct idx_pool_rsc prefix = { .node_name = s.node, .storage_pool_name = s.pool };
        struct pool_usage want = { .has = UINT64_MAX, .node_name = s.node, .storage_pool_name = s.pool };
        struct arena a = { 0 };
        struct buf key = { 0 };
        void *obj = NULL;
        check_each(c, &idx_pool_rsc_type, &prefix, 2, visit_user, &s);
        enc_key(&pool_usage_type, &want, &key);
        int err = check_load(c, &pool_usage_type, buf_blob(&key), &a, &obj);
        const struct pool_usage *u = obj;
        uint64_t kib = err == 0 ? u->reserved_kib : 0, volumes = err == 0 ? u->volumes : 0;
        if ((err == 0 || err == E_NOT_FOUND) && (kib != s.kib || volumes != s.volumes))
                check_finding(c,
                        "pool %s of node %s counts %llu KiB in %llu volumes, but holds %llu KiB in %llu",
                        s.pool, s.node, (unsigned long long)kib, (unsigned long long)volumes,
                        (unsigned long long)s.kib, (unsigned long long)s.volumes);
        buf_done(&key);
        arena_done(&a);
}

/* ---- the request ring ---- */

static void check_request(struct checker *c, const struct request_row *o)
{
        struct request_slot key = { .has = UINT64_MAX, .slot = o->slot };
        struct arena a = { 0 };
        struct buf k = { 0 };
        void *obj;
        enc_key(&request_slot_type, &key, &k);
        int err = check_load(c, &request_slot_type, buf_blob(&k), &a, &obj);
        const struct request_slot *s = err == 0 ? obj : NULL;
        if (err == E_NOT_FOUND || (s != NULL && (s->id_hi != o->id_hi || s->id_lo != o->id_lo)))
                check_finding(
                        c, "the request in slot %llu does not own its slot", (unsigned long long)o->slot);
        buf_done(&k);
        arena_done(&a);
}

static void check_slot(struct checker *c, const struct request_slot *o)
{
        struct request_row key = { .has = UINT64_MAX, .id_hi = o->id_hi, .id_lo = o->id_lo };
        struct arena a = { 0 };
        struct buf k = { 0 };
        void *obj;
        enc_key(&request_row_type, &key, &k);
        int err = check_load(c, &request_row_type, buf_blob(&k), &a, &obj);
        const struct request_row *r = err == 0 ? obj : NULL;
        if (err == E_NOT_FOUND || (r != NULL && r->slot != o->slot))
                check_finding(
                        c, "slot %llu of the request ring names no request", (unsigned long long)o->slot);
        if (o->slot >= REQUEST_TABLE_MAX)
                check_finding(c, "slot %llu is beyond the request ring", (unsigned long long)o->slot);
        buf_done(&k);
        arena_done(&a);
}

static bool visit_count(void *arg, struct checked_row *row, struct arena *a)
{
        (void)row;
        (void)a;
        ++*(uint64_t *)arg;
        return true;
}

static bool visit_ring(void *arg, struct checked_row *row, struct arena *a)
{
        (void)a;
        *(uint64_t *)arg = ((const struct request_ring *)row->obj)->next;
        return true;
}

static void check_ring(struct checker *c)
{
        uint64_t next = 0, rows = 0, slots = 0;
        check_each(c, &request_ring_type, NULL, 0, visit_ring, &next);
        check_each(c, &request_row_type, NULL, 0, visit_count, &rows);
        check_each(c, &request_slot_type, NULL, 0, visit_count, &slots);
        uint64_t want = MIN(next, (uint64_t)REQUEST_TABLE_MAX);
        if (rows != want || slots != want)
                check_finding(c, "the request ring should hold %llu requests, but has %llu in %llu slots",
                        (unsigned long long)want, (unsigned long long)rows, (unsigned long long)slots);
}

/* ---- which rows touch which groups ---- */

void check_groups_of(struct checker *c, const struct type_desc *t, const void *obj, bool key_only)
{
        if (t == &idx_pool_rsc_type) {
                const struct idx_pool_rsc *o = obj;
                check_usage(c, o->node_name, o->storage_pool_name);
        } else if (t == &pool_usage_type) {
                const struct pool_usage *o = obj;
                check_usage(c, o->node_name, o->storage_pool_name);
        } else if (key_only && t == &request_slot_type) {
                check_finding(c, "a slot of the request ring was deleted");
        } else if (key_only) {
                return; /* what is gone holds nothing */
        } else if (t == &idx_minor_type) {
                check_minor(c, ((const struct idx_minor *)obj)->minor);
        } else if (t == &idx_port_type) {
                const struct idx_port *o = obj;
                check_port(c, o->node_name, o->port);
        } else if (t == &rsc_type) {
                const struct rsc *o = obj;
                check_node_ids(c, o->rsc_name);
                for (uint32_t i = 0; i < o->volumes_n; i++)
                        if (text(o->volumes[i].storage_pool_name)[0] != '\0')
                                check_usage(c, o->node_name, o->volumes[i].storage_pool_name);
                for (uint32_t i = 0; i < o->extras_n; i++)
                        check_usage(c, o->node_name, o->extras[i].storage_pool_name);
        } else if (t == &request_row_type) {
                check_request(c, obj);
        } else if (t == &request_slot_type) {
                check_slot(c, obj);
        }
}

/* Calls a check once for each run of rows with equal first key fields. */
struct runs {
        struct checker *c;
        unsigned n_fields;
        uint8_t last[TX_KEY_MAX];
        size_t last_n;
};

static bool visit_run(void *arg, struct checked_row *row, struct arena *a)
{
        struct runs *r = arg;
        struct buf prefix = { 0 };
        (void)a;
        enc_key_prefix(row->type, row->obj, r->n_fields, &prefix);
        if (prefix.n > sizeof r->last || blob_cmp(buf_blob(&prefix), BLOB(r->last, r->last_n)) == 0) goto out;
        memcpy(r->last, prefix.p, prefix.n);
        r->last_n = prefix.n;
        if (row->type == &rsc_type) check_node_ids(r->c, ((const struct rsc *)row->obj)->rsc_name);
        else check_groups_of(r->c, row->type, row->obj, false);
out:
        buf_done(&prefix);
        return true;
}

static void each_run(struct checker *c, const struct type_desc *t, unsigned n_fields)
{
        struct runs r = { .c = c, .n_fields = n_fields };
        check_each(c, t, NULL, 0, visit_run, &r);
}

/* Sums of pools that nothing is in: the others are reached through the index. */
static bool visit_empty_usage(void *arg, struct checked_row *row, struct arena *a)
{
        struct checker *c = arg;
        const struct pool_usage *o = row->obj;
        struct idx_pool_rsc prefix = { .node_name = o->node_name, .storage_pool_name = o->storage_pool_name };
        uint64_t n = 0;
        (void)a;
        check_each(c, &idx_pool_rsc_type, &prefix, 2, visit_count, &n);
        if (n == 0) check_usage(c, o->node_name, o->storage_pool_name);
        return true;
}

void check_groups_all(struct checker *c)
{
        each_run(c, &idx_minor_type, 1);
        each_run(c, &idx_port_type, 2);
        each_run(c, &idx_pool_rsc_type, 2);
        each_run(c, &rsc_type, 1);
        each_run(c, &request_row_type, 2);
        each_run(c, &request_slot_type, 1);
        check_each(c, &pool_usage_type, NULL, 0, visit_empty_usage, c);
        check_ring(c);
}
