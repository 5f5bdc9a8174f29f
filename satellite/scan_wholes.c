/* Looks, now and then, at layers of whole resources that nobody tells of: NVMe. Who uses a device there, and whether the connection
 * stands, is seen by looking only; DRBD has its events. */
#include <stdlib.h>

#include "satellite/manager_internal.h"
#include "satellite/run.h"
#include "satellite/run_layers.h"

struct wholes_scan {
        uv_work_t req;
        struct manager *m;
        uint64_t number;
        struct run *runs; /* each with a copy of what a look needs */
        uint32_t n;
};

static bool needs_look(const struct unit *u)
{
        return u->want != NULL && HAS(u->want, sat_rsc, nvme) && !u->running;
}

static void on_look(uv_work_t *req)
{
        struct wholes_scan *s = container_of(req, struct wholes_scan, req);
        for (uint32_t i = 0; i < s->n; i++) s->runs[i].err = wholes_look(&s->runs[i].in, &s->runs[i].arena);
}

static const struct layer_whole *whole_of(const struct layer_whole *all, uint32_t n, enum layer_type type)
{
        for (uint32_t i = 0; i < n; i++)
                if (all[i].type == type && all[i].looked) return &all[i];
        return NULL;
}

/* Is it otherwise than the last round left it? After a failed one: has it come right by itself? */
static bool drifted(const struct unit *u, const struct plan_input *in)
{
        for (uint32_t i = 0; i < in->wholes_n; i++) {
                const struct layer_whole *is = &in->wholes[i],
                                         *was = whole_of(u->wholes, u->wholes_n, is->type);
                if (!is->looked) continue;
                bool same = was != NULL && was->exists == is->exists && was->settled == is->settled &&
                            was->tops_n == is->tops_n;
                if (!same && (u->failures == 0 || is->settled)) return true;
        }
        return false;
}

static void take(struct manager *m, uint64_t number, const struct run *r)
{
        struct unit *u = unit_find(&m->units, r->in.rsc_name);
        if (u == NULL || r->err != 0 || !needs_look(u) || u->settled_at >= number) return;
        if (drifted(u, &r->in)) {
                round_queue(m, u);
                return;
        }
        unit_set_wholes(u, r->in.wholes, r->in.wholes_n);
        manager_touch(m, u);
}

static void scan_free(struct wholes_scan *s)
{
        for (uint32_t i = 0; i < s->n; i++) run_done(&s->runs[i]);
        free(s->runs);
        free(s);
}

static void on_looked(uv_work_t *req, int status)
{
        struct wholes_scan *s = container_of(req, struct wholes_scan, req);
        struct manager *m = s->m;
        m->wholes_looking = false;
        m->wholes_due_ms = manager_now(m) + (m->wholes_again ? 0 : m->scan_every_ms);
        m->wholes_again = false;
        for (uint32_t i = 0; status == 0 && !m->closing && i < s->n; i++) take(m, s->number, &s->runs[i]);
        scan_free(s);
        if (!m->closing) round_start_ready(m);
        manager_settle(m);
}

void wholes_soon(struct manager *m)
{
        m->wholes_due_ms = 0;
        m->wholes_again = m->wholes_looking;
}

void wholes_tick(struct manager *m)
{
        struct unit *u;
        uint32_t n = 0;
        if (m->wholes_looking || manager_now(m) < m->wholes_due_ms) return;
        m->wholes_due_ms = manager_now(m) + m->scan_every_ms;
        UNIT_FOREACH(u, &m->units) n += needs_look(u);
        if (n == 0) return;
        struct wholes_scan *s = xnew(struct wholes_scan);
        s->m = m;
        s->number = ++m->scan_number;
        s->runs = xcalloc(n, sizeof *s->runs);
        UNIT_FOREACH(u, &m->units)
        {
                if (!needs_look(u)) continue;
                struct plan_input in = {
                        .rsc_name = u->name, .want = u->want, .devs = u->devs, .devs_n = u->devs_n
                };
                if (run_init(&s->runs[s->n], &in) == 0) s->n++;
                else run_done(&s->runs[s->n]);
        }
        if (uv_queue_work(m->loop, &s->req, on_look, on_looked) != 0) {
                scan_free(s);
                return;
        }
        m->wholes_looking = true;
        m->live++;
}
