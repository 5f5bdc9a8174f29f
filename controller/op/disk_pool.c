/* What is due for pools that are made out of disks, see disk_pool.h. */
#include "controller/op/disk_pool.h"

#include <string.h>

static void propose_step(struct look *l, const struct disk_pool *d, const struct obs_disk_pool *o)
{
        struct disk_pool_step body = { 0 };
        SET(&body, disk_pool_step, node_name, d->node_name);
        SET(&body, disk_pool_step, place, d->place);
        SET(&body, disk_pool_step, uuid, d->uuid);
        SET(&body, disk_pool_step, phase, (int64_t)d->phase);
        if (o != NULL && o->state == sat_step_state_FAILED) {
                SET(&body, disk_pool_step, failed, true);
                SET_N(&body, disk_pool_step, reports, o->reports, o->reports_n);
        }
        reconcile_propose(l, "/internal/disk-pool-step", &disk_pool_step_type, &body, "disk-pool", d->uuid,
                enum_name(&disk_pool_phase_enum, d->phase));
}

static void look_one(struct look *l, const struct disk_pool *d)
{
        struct obs_disk_pools all, key = { .node_name = d->node_name };
        if (d->phase == disk_pool_phase_FAILED) {
                int64_t known_ms = reconcile_known_ms(l, "disk-pool", d->uuid, "FAILED");
                if (known_ms > DISK_POOL_FAILED_MS) propose_step(l, d, NULL);
                return;
        }
        if (row_get(l->args->observed, &obs_disk_pools_type, &key, l->arena, &all) != 0) return;
        for (uint32_t i = 0; i < all.pools_n; i++) {
                const struct obs_disk_pool *o = &all.pools[i];
                if (strcmp(o->uuid, d->uuid) != 0 || o->phase != d->phase) continue;
                if (o->state == sat_step_state_DONE || o->state == sat_step_state_FAILED)
                        propose_step(l, d, o);
        }
}

void disk_pools_look(struct look *l)
{
        struct row_scan s;
        struct disk_pool d;
        row_scan_open(&s, l->args->wanted, &disk_pool_type, NULL, 0);
        while (look_goes_on(l) && row_scan_next(&s, l->arena, &d)) look_one(l, &d);
        row_scan_close(&s);
}
