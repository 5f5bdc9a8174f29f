/* Satellites and a leader's reconciler for the small cluster, see ops_world.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/op/reconcile.h"
#include "tests/lib/ops_world.h"
#include "wire/def/drbd_rules.h"

/* ---- satellites ---- */

static bool is_online(struct tx *observed, const char *node, struct arena *a)
{
        struct obs_node o, key = { .node_name = node };
        return row_get(observed, &obs_node_type, &key, a, &o) == 0 &&
               o.connection_status == conn_status_ONLINE;
}

static bool is_drbd(struct tx *wanted, const char *rsc, struct arena *a)
{
        struct rsc_dfn rd, key = { .name = rsc };
        bool found = row_get(wanted, &rsc_dfn_type, &key, a, &rd) == 0, drbd = false;
        for (uint32_t i = 0; found && i < rd.layer_stack_n; i++)
                drbd = drbd || strcmp(rd.layer_stack[i], "DRBD") == 0;
        return drbd;
}

static const char *disk_before(const struct obs_rsc *o, uint64_t number)
{
        for (uint32_t i = 0; i < o->volumes_n; i++)
                if (o->volumes[i].volume_number == number) return o->volumes[i].disk_state;
        return NULL;
}

/* A lost disk stays lost while it is skipped, or nobody says that it is to be taken again. */
static bool stays_lost(const struct obs_rsc *o, const struct rsc *r, uint64_t number)
{
        bool skipped = strmap_get(&r->props, "DrbdOptions/SkipDisk") != NULL || o->revision >= r->revision;
        for (uint32_t i = 0; i < o->volumes_n; i++)
                if (o->volumes[i].volume_number == number) return o->volumes[i].disk_lost && skipped;
        return false;
}

/* Is there a disk whose data counts? */
static bool has_data(struct tx *observed, const char *rsc, struct arena *a)
{
        struct row_scan s;
        struct obs_rsc o;
        bool found = false;
        row_scan_open(&s, observed, &obs_rsc_type, NULL, 0);
        while (!found && row_scan_next(&s, a, &o))
                for (uint32_t i = 0; i < o.volumes_n && strcmp(o.rsc_name, rsc) == 0; i++)
                        found = found || (o.volumes[i].disk_state != NULL &&
                                                 strcmp(o.volumes[i].disk_state, "UpToDate") == 0);
        row_scan_close(&s);
        return found;
}

/* A header has the present key as soon as its device is up. */
static void take_key(struct ops_world *w, struct tx *wanted, const struct rsc *r, struct obs_vlm *v)
{
        struct vlm_dfn vd, key = { .rsc_name = r->rsc_name, .volume_number = v->volume_number };
        if ((r->flags & (rsc_flag_DISKLESS | rsc_flag_INACTIVE)) != 0) return;
        if (row_get(wanted, &vlm_dfn_type, &key, &w->arena, &vd) == 0 && HAS(&vd, vlm_dfn, luks_key))
                SET(v, obs_vlm, key_id, vd.luks_key_id);
}

static void carry_out(
        struct ops_world *w, struct tx *wanted, struct tx *observed, const struct rsc *r, bool drbd)
{
        struct obs_rsc old = { 0 }, o = { 0 }, key = { .node_name = r->node_name, .rsc_name = r->rsc_name };
        struct arena *a = &w->arena;
        bool diskless = (r->flags & rsc_flag_DISKLESS) != 0, down = (r->flags & rsc_flag_INACTIVE) != 0;
        if (row_get(observed, &obs_rsc_type, &key, a, &old) != 0 || old.uuid == NULL || r->uuid == NULL ||
                strcmp(old.uuid, r->uuid) != 0)
                old = (struct obs_rsc){ 0 };
        const char *fresh = !drbd                                ? "Created"
                            : has_data(observed, r->rsc_name, a) ? "Inconsistent"
                                                                 : "UpToDate";
        struct obs_vlm *vlms = arena_alloc(a, (r->volumes_n + 1) * sizeof *vlms);
        for (uint32_t i = 0; i < r->volumes_n; i++) {
                const char *before = disk_before(&old, r->volumes[i].volume_number);
                bool had = before != NULL && strcmp(before, "Diskless") != 0;
                vlms[i] = (struct obs_vlm){ 0 };
                SET(&vlms[i], obs_vlm, volume_number, r->volumes[i].volume_number);
                if (!down) SET(&vlms[i], obs_vlm, device_path, "/dev/drbd1000");
                if (!diskless) SET(&vlms[i], obs_vlm, backing_device, "/p/image");
                if (!diskless) SET(&vlms[i], obs_vlm, allocated_kib, r->volumes[i].size_kib);
                bool lost = stays_lost(&old, r, r->volumes[i].volume_number);
                SET(&vlms[i], obs_vlm, disk_state, diskless || lost ? "Diskless" : had ? before : fresh);
                if (lost && !diskless) SET(&vlms[i], obs_vlm, disk_lost, true);
                take_key(w, wanted, r, &vlms[i]);
                for (uint32_t k = 0; k < old.volumes_n && !diskless; k++)
                        if (HAS(&old.volumes[k], obs_vlm, discard_bytes))
                                SET(&vlms[i], obs_vlm, discard_bytes, old.volumes[k].discard_bytes);
        }
        SET(&o, obs_rsc, node_name, r->node_name);
        SET(&o, obs_rsc, rsc_name, r->rsc_name);
        SET(&o, obs_rsc, uuid, r->uuid);
        SET(&o, obs_rsc, revision, r->revision);
        SET(&o, obs_rsc, state, sat_step_state_DONE);
        SET(&o, obs_rsc, in_use, old.in_use);
        if (HAS(&old, obs_rsc, in_use_since_ms)) SET(&o, obs_rsc, in_use_since_ms, old.in_use_since_ms);
        if (HAS(&old, obs_rsc, in_use_since_mono_ms))
                SET(&o, obs_rsc, in_use_since_mono_ms, old.in_use_since_mono_ms);
        SET_N(&o, obs_rsc, volumes, vlms, r->volumes_n);
        if (HAS(&old, obs_rsc, drbd)) SET(&o, obs_rsc, drbd, old.drbd);
        (void)row_put(observed, &obs_rsc_type, &o);
}

void ops_sats_peer(struct ops_world *w, const char *rsc, const char *node, const char *peer)
{
        struct tx *observed = kv_mem_write(w->observed);
        struct obs_rsc o, key = { .node_name = node, .rsc_name = rsc };
        struct obs_drbd_peer *p = arena_new(&w->arena, struct obs_drbd_peer);
        struct obs_drbd *d = arena_new(&w->arena, struct obs_drbd);
        const char *space = strchr(peer, ' ');
        if (space != NULL && row_get(observed, &obs_rsc_type, &key, &w->arena, &o) == 0) {
                bool alone = strcmp(space + 1, "StandAlone") == 0;
                unsigned troubles = DRBD_SPLIT_BRAIN | DRBD_STANDALONE | DRBD_NOT_CONNECTED;
                SET(p, obs_drbd_peer, name, arena_strndup(&w->arena, peer, (size_t)(space - peer)));
                SET(p, obs_drbd_peer, connection, arena_strdup(&w->arena, space + 1));
                if (alone) SET(p, obs_drbd_peer, split_brain, true);
                SET(d, obs_drbd, role, o.in_use ? "Primary" : "Secondary");
                SET(d, obs_drbd, troubles, alone ? troubles : 0);
                SET_N(d, obs_drbd, peers, p, 1);
                SET(&o, obs_rsc, drbd, d);
                (void)row_put(observed, &obs_rsc_type, &o);
        }
        if (kv_mem_commit(observed) != 0) abort();
}

void ops_sats_work(struct ops_world *w)
{
        struct tx *wanted = kv_mem_read(w->wanted), *observed = kv_mem_write(w->observed);
        struct row_scan s;
        struct rsc r;
        row_scan_open(&s, wanted, &rsc_type, NULL, 0);
        while (row_scan_next(&s, &w->arena, &r))
                if (is_online(observed, r.node_name, &w->arena))
                        carry_out(w, wanted, observed, &r, is_drbd(wanted, r.rsc_name, &w->arena));
        row_scan_close(&s);
        struct tombstone t;
        row_scan_open(&s, wanted, &tombstone_type, NULL, 0);
        while (row_scan_next(&s, &w->arena, &t)) {
                struct obs_rsc o = { 0 };
                struct rsc key = { .rsc_name = t.rsc_name, .node_name = t.node_name };
                if (!is_online(observed, t.node_name, &w->arena) || row_exists(wanted, &rsc_type, &key))
                        continue;
                SET(&o, obs_rsc, node_name, t.node_name);
                SET(&o, obs_rsc, rsc_name, t.rsc_name);
                SET(&o, obs_rsc, uuid, t.uuid);
                SET(&o, obs_rsc, revision, t.revision);
                SET(&o, obs_rsc, state, sat_step_state_DONE);
                SET(&o, obs_rsc, gone, true);
                (void)row_put(observed, &obs_rsc_type, &o);
        }
        row_scan_close(&s);
        kv_mem_end(wanted);
        if (kv_mem_commit(observed) != 0) abort();
}

void ops_sats_disk(struct ops_world *w, const char *rsc, const char *node, const char *disk)
{
        struct tx *observed = kv_mem_write(w->observed);
        struct row_scan s;
        struct obs_rsc o;
        row_scan_open(&s, observed, &obs_rsc_type, NULL, 0);
        while (row_scan_next(&s, &w->arena, &o)) {
                if (rsc != NULL && strcmp(rsc, o.rsc_name) != 0) continue;
                if (node != NULL && strcmp(node, o.node_name) != 0) continue;
                for (uint32_t i = 0; i < o.volumes_n; i++) {
                        struct obs_vlm *v = &o.volumes[i];
                        bool lost = strcmp(disk, "Lost") == 0;
                        if (strcmp(v->disk_state, "Diskless") == 0 && !v->disk_lost) continue;
                        SET(v, obs_vlm, disk_state, lost ? "Diskless" : disk);
                        SET(v, obs_vlm, disk_lost, lost);
                }
                (void)row_put(observed, &obs_rsc_type, &o);
        }
        row_scan_close(&s);
        if (kv_mem_commit(observed) != 0) abort();
}

void ops_sats_discard(struct ops_world *w, const char *rsc, const char *node, const char *bytes)
{
        struct tx *observed = kv_mem_write(w->observed);
        struct obs_rsc o, key = { .node_name = node, .rsc_name = rsc };
        if (row_get(observed, &obs_rsc_type, &key, &w->arena, &o) == 0) {
                for (uint32_t i = 0; i < o.volumes_n; i++)
                        SET(&o.volumes[i], obs_vlm, discard_bytes, strtoull(bytes, NULL, 10));
                (void)row_put(observed, &obs_rsc_type, &o);
        }
        if (kv_mem_commit(observed) != 0) abort();
}

void ops_sats_orphan(struct ops_world *w, const char *rsc, const char *node, const char *uuid)
{
        struct tx *observed = kv_mem_write(w->observed);
        struct obs_rsc o, key = { .node_name = node, .rsc_name = rsc };
        struct obs_orphan x[2] = { 0 };
        const char *space = strchr(uuid, ' ');
        if (row_get(observed, &obs_rsc_type, &key, &w->arena, &o) != 0) o = (struct obs_rsc){ 0 };
        for (unsigned i = 0; i < 2; i++) {
                SET(&x[i], obs_orphan, uuid, arena_strndup(&w->arena, uuid, strcspn(uuid, " ")));
                SET(&x[i], obs_orphan, volume_number, i);
                SET(&x[i], obs_orphan, backing_device, "/dev/vg/old");
                SET(&x[i], obs_orphan, allocated_kib, 4096);
                if (space != NULL && i == 1) SET(&x[i], obs_orphan, in_use, true);
        }
        SET(&o, obs_rsc, node_name, node);
        SET(&o, obs_rsc, rsc_name, rsc);
        SET(&o, obs_rsc, orphan, true);
        SET_N(&o, obs_rsc, orphans, x, 2);
        (void)row_put(observed, &obs_rsc_type, &o);
        if (kv_mem_commit(observed) != 0) abort();
}

void ops_sats_writer(struct ops_world *w, const char *rsc, const char *node, const char *peer)
{
        struct tx *observed = kv_mem_write(w->observed);
        struct obs_rsc o, key = { .node_name = node, .rsc_name = rsc };
        struct obs_drbd d = { 0 };
        struct obs_drbd_peer p = { 0 };
        if (row_get(observed, &obs_rsc_type, &key, &w->arena, &o) == 0) {
                SET(&p, obs_drbd_peer, name, peer);
                SET(&p, obs_drbd_peer, connection, "Connected");
                SET(&p, obs_drbd_peer, role, "Primary");
                SET_N(&d, obs_drbd, peers, &p, 1);
                SET(&o, obs_rsc, drbd, &d);
                (void)row_put(observed, &obs_rsc_type, &o);
        }
        if (kv_mem_commit(observed) != 0) abort();
}

void ops_sats_use(struct ops_world *w, const char *rsc, const char *node, bool in_use)
{
        struct tx *observed = kv_mem_write(w->observed);
        struct obs_rsc o, key = { .node_name = node, .rsc_name = rsc };
        if (row_get(observed, &obs_rsc_type, &key, &w->arena, &o) == 0) {
                SET(&o, obs_rsc, in_use, in_use);
                UNSET(&o, obs_rsc, in_use_since_ms);
                UNSET(&o, obs_rsc, in_use_since_mono_ms);
                if (in_use) SET(&o, obs_rsc, in_use_since_ms, ops_world_now_ms(w));
                if (in_use) SET(&o, obs_rsc, in_use_since_mono_ms, ops_world_mono_ms(w));
                (void)row_put(observed, &obs_rsc_type, &o);
        }
        if (kv_mem_commit(observed) != 0) abort();
}

void ops_sats_forget(struct ops_world *w)
{
        struct tx *observed = kv_mem_write(w->observed);
        struct row_scan s;
        struct obs_rsc o;
        row_scan_open(&s, observed, &obs_rsc_type, NULL, 0);
        while (row_scan_next(&s, &w->arena, &o)) (void)row_del(observed, &obs_rsc_type, &o);
        row_scan_close(&s);
        if (kv_mem_commit(observed) != 0) abort();
}

/* ---- the leader ---- */

#define PROPOSALS_MAX 64
struct proposal {
        char *path, *body;
};

/* Twice: what is proposed again has no second effect. */
static void carry_out_proposal(struct ops_world *w, const struct proposal *p, bool twice)
{
        (void)ops_world_call(w, "POST", p->path, p->body);
        if (twice) (void)ops_world_call(w, "POST", p->path, p->body);
}

static unsigned look(struct ops_world *w, bool twice)
{
        struct reconcile_args args = { .wanted = kv_mem_read(w->wanted),
                .observed = kv_mem_read(w->observed),
                .member = "c1",
                .wall_ms = ops_world_now_ms(w),
                .mono_ms = ops_world_mono_ms(w),
                .sweep = &w->sweep,
                .known = &w->known };
        w->sweep.max = 1; /* so that the turns are tried as well */
        struct arena a = { 0 };
        struct reconcile_action *actions;
        struct proposal list[PROPOSALS_MAX];
        uint32_t n = 0, kept = 0;
        if (reconcile_look(&args, &a, &actions, &n) != 0) abort();
        for (uint32_t i = 0; i < n && kept < PROPOSALS_MAX; i++) {
                const struct request *r = &actions[i].request;
                list[kept++] =
                        (struct proposal){ strdup(r->path), strndup((const char *)r->body.p, r->body.n) };
        }
        kv_mem_end(args.wanted);
        kv_mem_end(args.observed);
        arena_done(&a);
        for (uint32_t i = 0; i < kept; i++) {
                carry_out_proposal(w, &list[i], twice);
                free(list[i].path);
                free(list[i].body);
        }
        return kept;
}

unsigned ops_world_tend(struct ops_world *w, bool twice)
{
        unsigned n = 0;
        do n += look(w, twice);
        while (w->sweep.at[0] != '\0');
        return n;
}
