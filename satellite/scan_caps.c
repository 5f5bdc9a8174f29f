/* Looks, now and then, whether the node can do more or less than before: somebody has installed a program or loaded a module, or another
 * version of it. What failed for want of it is tried again at once, and sessions tell it their controllers. */
#include <stdlib.h>

#include "satellite/caps.h"
#include "satellite/drbd/drbd_node.h"
#include "satellite/manager_internal.h"
#include "wire/base/log.h"

struct caps_scan {
        uv_work_t req;
        struct manager *m;
        bool drbd; /* another version of it, or the first one */
        uint64_t mark;
};

static void on_look(uv_work_t *req)
{
        struct caps_scan *s = container_of(req, struct caps_scan, req);
        struct sat_hello_reply r = { 0 };
        struct arena a = { 0 };
        s->drbd = drbd_node_look_again();
        caps_fill(&a, &r);
        s->mark = caps_mark(&r);
        arena_done(&a);
}

static void on_looked(uv_work_t *req, int status)
{
        struct caps_scan *s = container_of(req, struct caps_scan, req);
        struct manager *m = s->m;
        m->caps_looking = false;
        m->caps_due_ms = manager_now(m) + m->scan_every_ms;
        if (status == 0 && !m->closing && s->drbd) manager_reopen_drbd(m);
        if (status == 0 && !m->closing && s->mark != m->caps) {
                if (m->caps != 0) {
                        log_info("caps", "what this node can do has changed");
                        round_queue_failed(m);
                }
                m->caps = s->mark;
                manager_notify(m);
        }
        free(s);
        manager_settle(m);
}

void caps_tick(struct manager *m)
{
        if (m->caps_looking || manager_now(m) < m->caps_due_ms) return;
        struct caps_scan *s = xnew(struct caps_scan);
        s->m = m;
        if (uv_queue_work(m->loop, &s->req, on_look, on_looked) != 0) {
                free(s);
                return;
        }
        m->caps_looking = true;
        m->live++;
}
