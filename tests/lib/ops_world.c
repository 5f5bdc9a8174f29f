/* A small cluster for tests of operations, see ops_world.h. */
#include "tests/lib/ops_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/op/op.h"
#include "controller/view/view.h"
#include "state/check.h"

#define KEY_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

void ops_world_open(struct ops_world *w)
{
        *w = (struct ops_world){ .wanted = kv_mem_new(), .observed = kv_mem_new(), .seed = 1 };
}

void ops_world_close(struct ops_world *w)
{
        kv_mem_free(w->wanted);
        kv_mem_free(w->observed);
        arena_done(&w->arena);
        buf_done(&w->body);
}

static struct tx *observed_begin(void *arg)
{
        struct ops_world *w = arg;
        return kv_mem_read(w->observed);
}

static void observed_end(void *arg, struct tx *tx)
{
        (void)arg;
        kv_mem_end(tx);
}

static bool untried(void *arg, const char *node)
{
        struct ops_world *w = arg;
        return w->untried != NULL && strcmp(w->untried, node) == 0;
}

static bool retried(void *arg, const char *node, int64_t wall_ms)
{
        struct ops_world *w = arg;
        return w->retried != NULL && strcmp(w->retried, node) == 0;
}

int64_t ops_world_now_ms(const struct ops_world *w)
{
        return (int64_t)(1700000000000 + w->seed) + w->later_ms + w->jump_ms;
}

int64_t ops_world_mono_ms(const struct ops_world *w) { return (int64_t)w->seed + w->later_ms; }

static int write_call(
        struct ops_world *w, const char *method, const char *path, const char *query, const char *body)
{
        struct op_env env = { observed_begin, observed_end, w, untried, retried };
        struct request r = { 0 };
        struct buf in = { 0 }, out = { 0 };
        SET(&r, request, method, method);
        SET(&r, request, path, path);
        SET(&r, request, query, query);
        SET(&r, request, body, BLOB(body, strlen(body)));
        SET(&r, request, wall_ms, ops_world_now_ms(w));
        SET(&r, request, seed, w->seed++);
        if (enc_msgpack(&request_type, &r, &in) != 0) abort();
        struct tx *tx = kv_mem_write(w->wanted);
        int err = op_evaluate(&env, tx, buf_blob(&in), w->index + 1, &out);
        if (err == 0) {
                if (kv_mem_commit(tx) != 0) abort();
                w->index++;
        } else {
                kv_mem_end(tx);
        }
        if (dec_msgpack(&reply_type, buf_blob(&out), DEC_STRICT, &w->arena, &w->reply, NULL) != 0) abort();
        w->status = (unsigned)w->reply.status;
        enc_json_list(&api_rc_type, w->reply.rcs, w->reply.rcs_n, JSON_API, &w->body);
        buf_done(&in);
        buf_done(&out);
        return err;
}

static void read_call(struct ops_world *w, const struct route *route, const struct route_match *m,
        const char *query, const char *body)
{
        struct query q;
        query_parse(query, &w->arena, &q);
        struct view v = { .tx = kv_mem_read(w->wanted),
                .observed = kv_mem_read(w->observed),
                .route = route,
                .params = m->params,
                .query = &q,
                .arena = &w->arena,
                .out = &w->body,
                .wall_ms = 1700000000000 };
        view_run(&v, BLOB(body, strlen(body)));
        w->status = v.status;
        kv_mem_end(v.tx);
        kv_mem_end(v.observed);
}

int ops_world_call(struct ops_world *w, const char *method, const char *path, const char *body)
{
        struct route_match m;
        arena_done(&w->arena);
        buf_reset(&w->body);
        w->reply = (struct reply){ 0 };
        w->status = 0;
        const char *mark = strchr(path, '?');
        char *bare = arena_strndup(&w->arena, path, mark != NULL ? (size_t)(mark - path) : strlen(path));
        const char *query = mark != NULL ? mark + 1 : "";
        const struct route *route = route_find_any(method, bare, &w->arena, &m);
        if (route == NULL) {
                w->status = m.path_known ? 405 : 404;
                return 0;
        }
        if (route->kind == ROUTE_WRITE) return write_call(w, method, bare, query, body);
        if (route->kind == ROUTE_READ) read_call(w, route, &m, query, body);
        return 0;
}

/* ---- what satellites report ---- */

static const char **split(struct arena *a, const char *text, char at, uint32_t *ret_n)
{
        const char **out = arena_alloc(a, (strlen(text) + 1) * sizeof *out);
        *ret_n = 0;
        for (const char *p = text; *p != '\0';) {
                const char *end = strchr(p, at);
                size_t n = end != NULL ? (size_t)(end - p) : strlen(p);
                out[(*ret_n)++] = arena_strndup(a, p, n);
                p += n + (end != NULL);
        }
        return out;
}

static void observe_node(
        struct ops_world *w, struct tx *tx, const char *name, const char *layers, bool online)
{
        static const char *providers[] = { "DISKLESS", "FILE", "FILE_THIN", "LVM", "LVM_THIN" };
        struct obs_node o = { 0 };
        uint32_t n;
        const char **list = split(&w->arena, layers[0] != '\0' ? layers : "STORAGE", ',', &n);
        struct str_list why = { 0 };
        const char *reasons[] = { "the kernel has no module of that name" }, *keys[] = { "DRBD" };
        SET_N(&why, str_list, items, reasons, 1);
        struct objmap unsupported = { .keys = keys, .vals = &why, .n = 1 };
        SET(&o, obs_node, node_name, name);
        if (strstr(layers, "DRBD") != NULL)
                SET(&o, obs_node, drbd_kernel,
                        strstr(layers, "8.4") != NULL     ? 0x08040b
                        : strstr(layers, "9.2.6") != NULL ? 0x090206
                                                          : 0x09020c);
        SET(&o, obs_node, since_ms, ops_world_now_ms(w));
        SET(&o, obs_node, since_mono_ms, ops_world_mono_ms(w));
        SET(&o, obs_node, connection_status, online ? conn_status_ONLINE : conn_status_OFFLINE);
        SET_N(&o, obs_node, storage_providers, providers, ARRAY_LEN(providers));
        SET_N(&o, obs_node, resource_layers, list, n);
        if (strstr(layers, "DRBD") == NULL) SET(&o, obs_node, unsupported_layers, unsupported);
        (void)row_put(tx, &obs_node_type, &o);
}

static void observe_hashes(struct ops_world *w, struct tx *tx, const char *node, const char *hashes)
{
        struct obs_node o, key = { .node_name = node };
        uint32_t n;
        const char **list = split(&w->arena, hashes, ',', &n);
        if (row_get(tx, &obs_node_type, &key, &w->arena, &o) != 0) return;
        SET_N(&o, obs_node, hashes, list, n);
        (void)row_put(tx, &obs_node_type, &o);
}

static void observe_pool(struct tx *tx, const char *node, const char *pool, const char *space)
{
        struct obs_pool o = { 0 };
        const char *slash = strchr(space, '/');
        SET(&o, obs_pool, node_name, node);
        SET(&o, obs_pool, storage_pool_name, pool);
        SET(&o, obs_pool, free_kib, atoll(space));
        SET(&o, obs_pool, total_kib, slash != NULL ? atoll(slash + 1) : atoll(space));
        (void)row_put(tx, &obs_pool_type, &o);
}

static void observe_disk(struct tx *tx, const char *node, const char *device, int64_t gib)
{
        struct obs_disks o = { 0 };
        struct obs_disk d = { 0 };
        SET(&d, obs_disk, device, device);
        SET(&d, obs_disk, size, gib << 30);
        SET(&d, obs_disk, rotational, true);
        SET(&d, obs_disk, model, "M");
        SET(&d, obs_disk, serial, "S");
        SET(&d, obs_disk, wwn, "");
        SET(&o, obs_disks, node_name, node);
        SET_N(&o, obs_disks, disks, &d, 1);
        (void)row_put(tx, &obs_disks_type, &o);
}

/* How the making of every pool out of disks there has ended, in its present phase. */
static void observe_made(struct ops_world *w, struct tx *tx, const char *node, const char *state)
{
        struct tx *wanted = kv_mem_read(w->wanted);
        struct disk_pool d, key = { .node_name = node };
        struct obs_disk_pools o = { 0 };
        struct obs_disk_pool pools[8] = { 0 };
        struct api_rc why = { 0 };
        struct row_scan s;
        uint32_t n = 0;
        bool failed = strcmp(state, "FAILED") == 0;
        SET(&why, api_rc, ret_code, INT64_MIN | 990);
        SET(&why, api_rc, message, "so it was asked");
        row_scan_open(&s, wanted, &disk_pool_type, &key, 1);
        while (n < ARRAY_LEN(pools) && row_scan_next(&s, &w->arena, &d)) {
                SET(&pools[n], obs_disk_pool, uuid, d.uuid);
                SET(&pools[n], obs_disk_pool, phase, d.phase);
                SET(&pools[n], obs_disk_pool, state, failed ? sat_step_state_FAILED : sat_step_state_DONE);
                if (failed) SET_N(&pools[n], obs_disk_pool, reports, &why, 1);
                n++;
        }
        row_scan_close(&s);
        kv_mem_end(wanted);
        SET(&o, obs_disk_pools, node_name, node);
        SET_N(&o, obs_disk_pools, pools, pools, n);
        (void)row_put(tx, &obs_disk_pools_type, &o);
}

static void observe_rsc(
        struct ops_world *w, struct tx *tx, const char *rsc, const char *node, const char *state)
{
        struct tx *wanted = kv_mem_read(w->wanted);
        struct rsc key = { .rsc_name = rsc, .node_name = node }, r;
        struct obs_rsc o = { 0 };
        if (row_get(wanted, &rsc_type, &key, &w->arena, &r) == 0) {
                struct obs_vlm *vlms = arena_alloc(&w->arena, (r.volumes_n + 1) * sizeof *vlms);
                for (uint32_t i = 0; i < r.volumes_n; i++) {
                        SET(&vlms[i], obs_vlm, volume_number, r.volumes[i].volume_number);
                        SET(&vlms[i], obs_vlm, device_path, "/dev/loop0");
                        SET(&vlms[i], obs_vlm, backing_device, "/p/image");
                        SET(&vlms[i], obs_vlm, allocated_kib, r.volumes[i].size_kib);
                        SET(&vlms[i], obs_vlm, usable_kib, r.volumes[i].size_kib);
                        SET(&vlms[i], obs_vlm, disk_state, "Created");
                }
                SET(&o, obs_rsc, node_name, r.node_name);
                SET(&o, obs_rsc, rsc_name, r.rsc_name);
                SET(&o, obs_rsc, uuid, r.uuid);
                SET(&o, obs_rsc, revision, r.revision);
                SET(&o, obs_rsc, state, sat_step_state_DONE);
                SET(&o, obs_rsc, in_use, strcmp(state, "in_use") == 0);
                SET_N(&o, obs_rsc, volumes, vlms, r.volumes_n);
                (void)row_put(tx, &obs_rsc_type, &o);
        }
        kv_mem_end(wanted);
}

static void confirm(struct ops_world *w, const char *node)
{
        struct tx *wanted = kv_mem_read(w->wanted);
        struct tombstone key = { .node_name = node }, t;
        struct row_scan s;
        struct buf b = { 0 };
        struct arena a = { 0 };
        uint32_t n = 0;
        buf_printf(&b, "{\"node_name\":\"%s\",\"uuids\":[", node);
        row_scan_open(&s, wanted, &tombstone_type, &key, 1);
        while (row_scan_next(&s, &a, &t)) buf_printf(&b, "%s\"%s\"", n++ != 0 ? "," : "", t.uuid);
        row_scan_close(&s);
        kv_mem_end(wanted);
        buf_put_str(&b, "]}");
        (void)ops_world_call(w, "POST", "/internal/satellite-confirm", buf_cstr(&b));
        buf_done(&b);
        arena_done(&a);
}

/* The phase of every saga is over, or fails. */
static void step_sagas(struct ops_world *w, bool fails)
{
        struct tx *wanted = kv_mem_read(w->wanted);
        struct row_scan s;
        struct saga g;
        struct arena a = { 0 };
        struct buf bodies[8] = { 0 };
        uint32_t n = 0;
        row_scan_open(&s, wanted, &saga_type, NULL, 0);
        while (n < ARRAY_LEN(bodies) && row_scan_next(&s, &a, &g))
                buf_printf(&bodies[n++],
                        "{\"uuid\":\"%s\",\"phase\":%u,\"failed\":%s,\"reason\":\"so it was asked\"}", g.uuid,
                        (unsigned)g.phase, fails ? "true" : "false");
        row_scan_close(&s);
        kv_mem_end(wanted);
        for (uint32_t i = 0; i < n; i++) {
                (void)ops_world_call(w, "POST", "/internal/saga-step", buf_cstr(&bodies[i]));
                buf_done(&bodies[i]);
        }
        arena_done(&a);
}

/* What all satellites together have done. */
static bool observe_work(
        struct ops_world *w, const char *method, const char **part, uint32_t n, const char *body)
{
        if (strcmp(method, "WORK") == 0) ops_sats_work(w);
        else if (strcmp(method, "SYNC") == 0) ops_sats_disk(w, NULL, NULL, "UpToDate");
        else if (strcmp(method, "DISK") == 0 && n == 2) ops_sats_disk(w, part[0], part[1], body);
        else if (strcmp(method, "USE") == 0 && n == 2)
                ops_sats_use(w, part[0], part[1], strcmp(body, "yes") == 0);
        else if (strcmp(method, "WRITER") == 0 && n == 2) ops_sats_writer(w, part[0], part[1], body);
        else if (strcmp(method, "PEER") == 0 && n == 2) ops_sats_peer(w, part[0], part[1], body);
        else if (strcmp(method, "DISCARD") == 0 && n == 2) ops_sats_discard(w, part[0], part[1], body);
        else if (strcmp(method, "ORPHAN") == 0 && n == 2) ops_sats_orphan(w, part[0], part[1], body);
        else if (strcmp(method, "FORGET") == 0) ops_sats_forget(w);
        else if (strcmp(method, "LATER") == 0) w->later_ms += 1000 * strtoll(body, NULL, 10);
        else if (strcmp(method, "JUMP") == 0) w->jump_ms += 1000 * strtoll(body, NULL, 10);
        else return false;
        return true;
}

#define READY "\"own_key\":\"" KEY_A "\",\"peer_key\":\"" KEY_B "\",\"address\":\"10.9.0.1\",\"port\":12001"
#define BASED "based on "
#define READY_NOTE "ready: "
static const char *answer_of(struct tx *wanted, const struct ship *x, const char *what, struct arena *a)
{
        if (strcmp(what, "refused") == 0) return "\"reason\":\"it is full there\"";
        if (strcmp(what, "told") == 0) return "\"told\":true";
        if (strcmp(what, "done") == 0) return "\"done\":true";
        if (strncmp(what, READY_NOTE, strlen(READY_NOTE)) == 0)
                return arena_printf(a, READY ",\"note\":\"%s\"", what + strlen(READY_NOTE));
        if (strncmp(what, BASED, strlen(BASED)) != 0) return READY;
        struct snap_dfn d, key = { .rsc_name = x->rsc_name, .snap_name = what + strlen(BASED) };
        bool here = row_get(wanted, &snap_dfn_type, &key, a, &d) == 0;
        return arena_printf(a, READY ",\"base_id\":\"%s\"", here ? d.uuid : "unknown");
}

/* What the other cluster says to all shipments that it is asked about; it is heard twice. */
static void answer_ships(struct ops_world *w, const char *what)
{
        struct tx *wanted = kv_mem_read(w->wanted);
        struct arena a = { 0 };
        struct row_scan s;
        struct ship x;
        const char *bodies[8];
        uint32_t n = 0;
        row_scan_open(&s, wanted, &ship_type, NULL, 0);
        while (n < ARRAY_LEN(bodies) && row_scan_next(&s, &a, &x)) {
                if (x.kind != ship_kind_SEND) continue;
                bodies[n++] = arena_printf(&a, "{\"uuid\":\"%s\",\"round\":%lld,%s}", x.uuid,
                        (long long)x.round, answer_of(wanted, &x, what, &a));
        }
        row_scan_close(&s);
        kv_mem_end(wanted);
        for (uint32_t i = 0; i < 2 * n; i++)
                (void)ops_world_call(w, "POST", "/internal/ship-answer", bodies[i % n]);
        arena_done(&a);
}

/* What the node says of the backups that it is to carry out. */
static void observe_ships(struct ops_world *w, struct tx *tx, const char *node, const char *state)
{
        struct tx *wanted = kv_mem_read(w->wanted);
        struct obs_ships o = { 0 };
        struct obs_ship list[8] = { 0 };
        struct row_scan s;
        struct ship x;
        uint32_t n = 0;
        row_scan_open(&s, wanted, &ship_type, NULL, 0);
        while (n < ARRAY_LEN(list) && row_scan_next(&s, &w->arena, &x)) {
                if ((x.phase != ship_phase_RUN && x.phase != ship_phase_ASK) ||
                        strcmp(x.node_name, node) != 0)
                        continue;
                SET(&list[n], obs_ship, uuid, x.uuid);
                SET(&list[n], obs_ship, round, x.round);
                SET(&list[n], obs_ship, key, KEY_A);
                SET(&list[n], obs_ship, port, 12000);
                if (strcmp(state, "lost") == 0) SET(&list[n], obs_ship, lost, true);
                SET(&list[n], obs_ship, state,
                        strcmp(state, "done") == 0 ? sat_step_state_DONE
                        : strcmp(state, "on") != 0 ? sat_step_state_FAILED
                                                   : sat_step_state_PENDING);
                SET(&list[n], obs_ship, text, "the bucket is full");
                n++;
        }
        row_scan_close(&s);
        kv_mem_end(wanted);
        SET(&o, obs_ships, node_name, node);
        SET_N(&o, obs_ships, ships, list, n);
        (void)row_put(tx, &obs_ships_type, &o);
}

#define TEND_ROUNDS 8

bool ops_world_observe(struct ops_world *w, const char *method, const char *path, const char *body)
{
        uint32_t n;
        if (strcmp(method, "CONFIRM") == 0) {
                confirm(w, path);
                return true;
        }
        if (strcmp(method, "OTHER") == 0) {
                answer_ships(w, body);
                return true;
        }
        if (strcmp(method, "SAGA") == 0) {
                step_sagas(w, strcmp(body, "fails") == 0);
                return true;
        }
        if (strcmp(method, "TEND") == 0) {
                for (unsigned i = 0; i < TEND_ROUNDS && ops_world_tend(w, strcmp(body, "twice") == 0) != 0;
                        i++)
                        continue;
                return true;
        }
        const char **part = split(&w->arena, path, '/', &n);
        if (observe_work(w, method, part, n, body)) return true;
        struct tx *tx = kv_mem_write(w->observed);
        bool known = true;
        if (strcmp(method, "NODE") == 0) observe_node(w, tx, path, body, true);
        else if (strcmp(method, "OFFLINE") == 0) observe_node(w, tx, path, body, false);
        else if (strcmp(method, "DISK") == 0 && strchr(body, '/') != NULL)
                observe_disk(tx, path, arena_strndup(&w->arena, body, strcspn(body, "/")),
                        atoll(strchr(body, '/') + 1));
        else if (strcmp(method, "MADE") == 0) observe_made(w, tx, path, body);
        else if (strcmp(method, "POOL") == 0 && n == 2) observe_pool(tx, part[0], part[1], body);
        else if (strcmp(method, "HASHES") == 0) observe_hashes(w, tx, path, body);
        else if (strcmp(method, "SHIP") == 0) observe_ships(w, tx, path, body);
        else if (strcmp(method, "RSC") == 0 && n == 2) observe_rsc(w, tx, part[0], part[1], body);
        else known = false;
        if (kv_mem_commit(tx) != 0) abort();
        return known;
}

static void print(void *arg, const char *text)
{
        (void)arg;
        (void)fprintf(stderr, "state: %s\n", text);
}

int ops_world_check(struct ops_world *w)
{
        struct tx *tx = kv_mem_read(w->wanted);
        int n = state_check(tx, print, NULL);
        kv_mem_end(tx);
        return n;
}
