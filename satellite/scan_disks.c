/* Looks, now and then, for disks that nobody uses: the controllers show them. */
#include <stdlib.h>
#include <string.h>

#include "satellite/manager_internal.h"
#include "satellite/provider/disks.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"

#define DISKS_EVERY_MS 30000

struct disks_scan {
        uv_work_t req;
        struct manager *m;
        struct arena arena;
        struct obs_disks found;
        int err;
};

static void on_look(uv_work_t *req)
{
        struct disks_scan *s = container_of(req, struct disks_scan, req);
        struct obs_disk *disks;
        uint32_t n;
        s->err = disks_free("/sys", "/dev", "/proc", &s->arena, &disks, &n);
        SET_N(&s->found, obs_disks, disks, disks, s->err == 0 ? n : 0);
}

static bool same(const struct obs_disks *a, const struct obs_disks *b)
{
        struct buf x = { 0 }, y = { 0 };
        bool equal = enc_msgpack(&obs_disks_type, a, &x) == 0 && enc_msgpack(&obs_disks_type, b, &y) == 0 &&
                     x.n == y.n && (x.n == 0 || memcmp(x.p, y.p, x.n) == 0);
        buf_done(&x);
        buf_done(&y);
        return equal;
}

static void on_looked(uv_work_t *req, int status)
{
        struct disks_scan *s = container_of(req, struct disks_scan, req);
        struct manager *m = s->m;
        m->disks_looking = false;
        m->disks_due_ms = manager_now(m) + DISKS_EVERY_MS;
        SET(&s->found, obs_disks, node_name, m->node_name);
        if (s->err != 0) log_warn("disks", "free disks cannot be looked for: %s", err_text(s->err));
        if (status == 0 && s->err == 0 && !m->closing && (m->disks_gen == 0 || !same(&m->disks, &s->found))) {
                arena_done(&m->disks_arena);
                m->disks_arena = s->arena;
                m->disks = s->found;
                m->disks_gen = ++m->gen;
                manager_notify(m);
        } else arena_done(&s->arena);
        free(s);
        manager_settle(m);
}

void disks_tick(struct manager *m)
{
        if (m->disks_looking || manager_now(m) < m->disks_due_ms) return;
        struct disks_scan *s = xnew(struct disks_scan);
        s->m = m;
        if (uv_queue_work(m->loop, &s->req, on_look, on_looked) != 0) {
                free(s);
                return;
        }
        m->disks_looking = true;
        m->live++;
}
