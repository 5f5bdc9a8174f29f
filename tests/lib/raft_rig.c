#include "tests/lib/raft_rig.h"

#include <stdlib.h>
#include <string.h>

static uint64_t env_now(struct env *env) { return container_of(env, struct rig_node, env)->rig->now; }
static void env_random(struct env *env, void *p, size_t n) { memset(p, 7, n); }

static void op_send(void *arg, uint64_t to, enum raft_channel channel, struct blob frame)
{
        struct rig_node *n = arg;
        struct rig_frame *f = xmalloc(sizeof(*f) + frame.n);

        *f = (struct rig_frame){ .from = n->no, .to = (unsigned)to, .channel = channel, .n = frame.n };
        memcpy(f->data, frame.p, frame.n);
        n->rig->sent[frame.p[0]]++;
        n->rig->largest[frame.p[0]] = MAX(n->rig->largest[frame.p[0]], frame.n);
        list_push_back(&n->rig->frames, &f->node);
}
/* Every request is one row: request bytes -> "1". A request that begins with '!' is refused, with '?' writes
 * nothing; with '~' cannot be decided while the node is not_yet. */
static int op_evaluate(void *arg, struct tx *tx, struct blob request, uint64_t index, struct buf *ret_reply)
{
        struct rig_node *n = arg;
        struct blob old;
        uint8_t key[66] = { 0x70, 0 };

        memcpy(key + 2, request.p, MIN(request.n, 64));
        buf_put_str(ret_reply, tx_get(tx, BLOB(key, 2 + MIN(request.n, 64)), &old) == 0 ? "again" : "first");
        if (request.p[0] != '?') (void)tx_put(tx, BLOB(key, 2 + MIN(request.n, 64)), BLOB("1", 1));
        if (request.p[0] == '~' && n->not_yet) return E_BUSY;
        return request.p[0] == '!' ? E_INVALID : 0;
}
static void op_fatal(void *arg, int err, const char *why) { ((struct rig_node *)arg)->fatal = err; }
static const struct driver_ops ops = { .send = op_send, .evaluate = op_evaluate, .on_fatal = op_fatal };

struct rig *rig_new(void)
{
        struct rig *r = xnew(struct rig);

        r->now = 1000;
        list_init(&r->frames);
        return r;
}

static void drop_frames(struct rig *r)
{
        while (!list_empty(&r->frames)) {
                struct rig_frame *f = list_first(&r->frames, struct rig_frame, node);
                list_remove(&f->node);
                free(f);
        }
}

static void start(struct rig *r, struct rig_node *n)
{
        struct driver_config c = { .id = n->no,
                .name = "n",
                .address = n->address,
                .election_ms = 1000,
                .heartbeat_ms = 100,
                .seed = 100 + n->no,
                .snapshot_entries = r->snapshot_entries,
                .trailing_entries = r->trailing,
                .store = store_mem_store(n->store),
                .env = &n->env,
                .ops = &ops,
                .arg = n };
        struct fail why;

        if (driver_open(&c, &n->driver, &why) < 0) abort();
        store_mem_run(n->store);
}

static void stop(struct rig_node *n)
{
        drv_process_dies(n->driver);
        store_mem_crash(n->store, NULL, NULL);
        driver_close(n->driver);
}

void rig_boot(struct rig *r, unsigned no, const char *roles)
{
        struct rig_node *n = &r->nodes[no];
        struct driver_founder f[RIG_MAX];
        char addresses[RIG_MAX][8];
        uint32_t founders_n = 0;
        struct fail why;

        n->env = (struct env){ env_now, env_now, env_random };
        n->rig = r;
        n->no = no;
        (void)snprintf(n->address, sizeof(n->address), "%u", no);
        n->store = store_mem_new();
        for (unsigned i = 0; roles && roles[i]; i++) {
                if (roles[i] == '-') continue;
                (void)snprintf(addresses[i], sizeof(addresses[i]), "%u", i + 1);
                f[founders_n++] = (struct driver_founder){ i + 1, addresses[i],
                        roles[i] == 'v'   ? MEMBER_VOTER
                        : roles[i] == 's' ? MEMBER_STANDBY
                                          : MEMBER_SPARE };
        }
        if (founders_n && driver_found(store_mem_store(n->store), f, founders_n, BLOB(NULL, 0),
                                  (void (*)(void *))store_mem_run, n->store, &why) < 0)
                abort();
        start(r, n);
}

void rig_restart(struct rig *r, unsigned no)
{
        stop(&r->nodes[no]);
        start(r, &r->nodes[no]);
}

void rig_free(struct rig *r)
{
        for (unsigned i = 1; i <= RIG_MAX; i++) {
                struct rig_node *n = &r->nodes[i];
                if (!n->store) continue;
                stop(n);
                store_mem_free(n->store);
        }
        drop_frames(r);
        free(r);
}

void rig_links(struct rig *r, const char *groups)
{
        memset(r->allow, 0, sizeof(r->allow));
        for (const char *g = groups; *g;) {
                const char *end = strchr(g, '|');
                size_t n = end ? (size_t)(end - g) : strlen(g);
                for (size_t i = 0; i < n; i++)
                        for (size_t k = 0; k < n; k++) r->allow[g[i] - '0'][g[k] - '0'] = true;
                g += n + (end != NULL);
        }
}

void rig_disk(struct rig *r, unsigned no) { (void)store_mem_step(r->nodes[no].store); }

static bool disks(struct rig *r)
{
        bool moved = false;

        for (unsigned i = 1; i <= RIG_MAX; i++) {
                struct rig_node *n = &r->nodes[i];
                if (!n->store) continue;
                while (!n->disk_held && store_mem_step(n->store)) moved = true;
                if (driver_deadline_ms(n->driver) <= r->now &&
                        driver_deadline_ms(n->driver) != n->driver->timer_ms) {
                        uint64_t timer = n->driver->timer_ms; /* only what is due besides the core's timer */
                        n->driver->timer_ms = UINT64_MAX;
                        driver_tick(n->driver);
                        if (n->driver->timer_ms == UINT64_MAX) n->driver->timer_ms = timer;
                        moved = true;
                }
        }
        return moved;
}

void rig_pump(struct rig *r)
{
        for (unsigned turns = 0; turns < 10000; turns++) {
                if (!list_empty(&r->frames)) {
                        struct rig_frame *f = list_first(&r->frames, struct rig_frame, node);
                        list_remove(&f->node);
                        if (f->to <= RIG_MAX && r->allow[f->from][f->to] && r->nodes[f->to].driver &&
                                (r->drop_kinds[f->to] & 1u << f->data[0]) == 0)
                                driver_receive(
                                        r->nodes[f->to].driver, f->from, f->channel, BLOB(f->data, f->n));
                        free(f);
                } else if (!disks(r)) {
                        return;
                }
        }
}

void rig_tick(struct rig *r, unsigned no, unsigned ms)
{
        r->now += ms;
        r->nodes[no].driver->timer_ms = 0;
        driver_tick(r->nodes[no].driver);
        rig_pump(r);
        r->now += APPLY_LAZY_MS + 1; /* let what was committed be applied */
        rig_pump(r);
}

void rig_inject(
        struct rig *r, unsigned to, unsigned from, enum raft_frame kind, const void *msg, uint64_t seq)
{
        struct frame_header h = { .kind = kind, .incarnation = 1, .seq = seq };
        struct buf b = { 0 };

        frame_encode(&b, &h, msg);
        driver_receive(r->nodes[to].driver, from, kind >= raft_frame_SNAP_BEGIN ? CHANNEL_BULK : CHANNEL_RAFT,
                buf_blob(&b));
        buf_done(&b);
}

struct driver_status rig_status(struct rig *r, unsigned no)
{
        struct driver_status st;

        driver_status(r->nodes[no].driver, &st);
        return st;
}
