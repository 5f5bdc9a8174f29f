/* Pools that are to be made out of disks: one at a time, each phase once; how it ended is reported until the cluster no longer wants to
 * know. What that was is not kept on disk: after a restart a phase is gone through again, which finds what it has done. */
#include <stdlib.h>
#include <string.h>

#include "satellite/manager_internal.h"
#include "satellite/provider/disk_pool.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"

#define REQUESTS_MAX_BYTES ((size_t)4 << 20)

struct made {
        struct list at;
        char *uuid;
        enum disk_pool_phase phase;
        struct trouble trouble; /* err 0: DONE */
};

struct make_job {
        uv_work_t req;
        struct manager *m;
        struct arena arena;
        struct sat_disk_pool want;
        struct trouble trouble;
};

static struct made *find(struct manager *m, const struct sat_disk_pool *w)
{
        LIST_FOREACH(i, &m->made)
        {
                struct made *x = container_of(i, struct made, at);
                if (x->phase == w->phase && strcmp(x->uuid, w->uuid) == 0) return x;
        }
        return NULL;
}

static void forget(struct made *x)
{
        list_remove(&x->at);
        free(x->uuid);
        free(x);
}

static bool is_wanted(struct manager *m, const struct made *x)
{
        for (uint32_t i = 0; i < m->make_n; i++)
                if (m->make[i].phase == x->phase && strcmp(m->make[i].uuid, x->uuid) == 0) return true;
        return false;
}

int make_pools_take(struct manager *m, const struct sat_wanted *w)
{
        struct arena a = { .limit_bytes = REQUESTS_MAX_BYTES };
        struct sat_wanted part = { 0 }, copy = { 0 };
        if (!HAS(w, sat_wanted, disk_pools)) return 0; /* a leader that says nothing of them */
        SET_N(&part, sat_wanted, disk_pools, w->disk_pools, w->disk_pools_n);
        SET(&part, sat_wanted, cluster_uuid, m->cluster_uuid);
        int err = obj_copy(&sat_wanted_type, &part, &a, &copy);
        if (err != 0) {
                arena_done(&a);
                return err;
        }
        arena_done(&m->make_arena);
        m->make_arena = a;
        m->make = copy.disk_pools;
        m->make_n = copy.disk_pools_n;
        m->make_seq = m->seq + 1; /* of the save that is about to be asked for */
        LIST_FOREACH_SAFE(i, next, &m->made)
        {
                struct made *x = container_of(i, struct made, at);
                if (is_wanted(m, x)) continue;
                forget(x);
                m->made_gen = ++m->gen;
        }
        return 0;
}

void make_pools_done(struct manager *m)
{
        LIST_FOREACH_SAFE(i, next, &m->made) forget(container_of(i, struct made, at));
        arena_done(&m->make_arena);
}

static void on_make(uv_work_t *req)
{
        static const struct disk_pool_env env = { "/sys", "/dev", "/proc", false };
        struct make_job *j = container_of(req, struct make_job, req);
        int err = disk_pool_work(&env, &j->want, &j->trouble);
        j->trouble.err = err;
}

static void on_made(uv_work_t *req, int status)
{
        struct make_job *j = container_of(req, struct make_job, req);
        struct manager *m = j->m;
        const char *phase = enum_name(&disk_pool_phase_enum, j->want.phase);
        m->making = false;
        if (!m->closing && status == 0 && find(m, &j->want) == NULL) {
                struct made *x = xnew(struct made);
                x->uuid = xstrdup(j->want.uuid);
                x->phase = j->want.phase;
                x->trouble = j->trouble;
                list_push_back(&m->made, &x->at);
                if (x->trouble.err == 0) log_info("disk-pool", "%s: %s: done", j->want.place, phase);
                else
                        log_warn("disk-pool", "%s: %s: %s %s", j->want.place, phase, x->trouble.message,
                                x->trouble.cause);
                m->made_gen = ++m->gen;
                if (x->phase == disk_pool_phase_MAKE) m->disks_due_ms = 0; /* the disks are no longer free */
                manager_notify(m);
        }
        arena_done(&j->arena);
        free(j);
        manager_settle(m);
}

static int start(struct manager *m, const struct sat_disk_pool *w)
{
        struct make_job *j = xnew(struct make_job);
        j->m = m;
        j->trouble.volume = TROUBLE_NO_VOLUME;
        int err = obj_copy(&sat_disk_pool_type, w, &j->arena, &j->want);
        if (err == 0) err = uv_queue_work(m->loop, &j->req, on_make, on_made);
        if (err != 0) {
                arena_done(&j->arena);
                free(j);
                return err;
        }
        m->making = true;
        m->live++;
        return 0;
}

void make_pools_tick(struct manager *m)
{
        if (m->making || m->make_seq > m->saved_seq) return;
        for (uint32_t i = 0; i < m->make_n; i++)
                if (find(m, &m->make[i]) == NULL) {
                        (void)start(m, &m->make[i]); /* without memory for it: at the next tick */
                        return;
                }
}

int make_pools_report(struct manager *m, struct arena *a, struct obs_disk_pools *ret)
{
        uint32_t n = 0, max = 0;
        LIST_FOREACH(i, &m->made) max++;
        struct obs_disk_pool *rows = arena_array(a, struct obs_disk_pool, max + 1);
        struct api_rc *reports = arena_array(a, struct api_rc, max + 1);
        if (rows == NULL || reports == NULL) return E_TOO_LARGE;
        LIST_FOREACH(i, &m->made)
        {
                const struct made *x = container_of(i, struct made, at);
                bool failed = x->trouble.err != 0;
                rows[n] = (struct obs_disk_pool){ 0 };
                SET(&rows[n], obs_disk_pool, uuid, x->uuid);
                SET(&rows[n], obs_disk_pool, phase, x->phase);
                SET(&rows[n], obs_disk_pool, state, failed ? sat_step_state_FAILED : sat_step_state_DONE);
                if (failed) {
                        trouble_report(&x->trouble, TROUBLE_OF_POOL, a, &reports[n]);
                        SET_N(&rows[n], obs_disk_pool, reports, &reports[n], 1);
                }
                n++;
        }
        *ret = (struct obs_disk_pools){ 0 };
        SET(ret, obs_disk_pools, node_name, m->node_name);
        SET_N(ret, obs_disk_pools, pools, rows, n);
        return 0;
}
