/* The member: opens everything in order, connects the pieces, closes everything in the opposite order.
 *
 * Opening: certificates -> identity -> store -> transport -> driver -> timers. Each step may fail;
 * member_close() knows how far it got. Closing: driver (answers what is pending) and transport at once, the
 * store last. Debts (live): turn, tick and reconcile handles, transport, store. */
#include "raftctl/member.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raftctl/admin.h"
#include "raftctl/join_op.h"
#include "raftctl/level.h"
#include "raftctl/member_int.h"
#include "raftctl/store_lmdb.h"
#include "raftctl/store_mem.h"
#include "raftctl/takeover.h"
#include "wire/codec/codec.h"
#include "wire/net/kinds.h"

enum {
        ELECTION_MS = 500,
        SNAPSHOT_ENTRIES = 4096,
        HEARTBEAT_MS = 50,
        IDENTITY_ARENA = 1 << 20,
        OUTCOME_ARENA = 64 << 10,
        TICK_MAX_MS = 1000,
        WITNESS_ENTRY_BYTES = 128, /* the least that an entry costs a store */
        WITNESS_CACHE_BYTES = 256 << 10,
        WITNESS_JOB_BYTES = 512 << 10
};

uint64_t member_now_ms(const struct local_member *m) { return m->env->now_ms(m->env); }

/* ---- the end ---- */

static void free_member(struct local_member *m)
{
        pki_dir_done(&m->pki);
        tls_ctx_unref(m->tls);
        store_mem_free(m->memory);
        arena_done(&m->arena);
        arena_done(&m->members_arena);
        free(m->dir);
        free(m);
}

void member_settle(struct local_member *m)
{
        assert(m->live > 0);
        if (--m->live > 0) return;
        assert(m->closing);
        void (*cb)(void *) = m->closed_cb;
        void *arg = m->closed_arg;
        free_member(m);
        cb(arg);
}

static void on_handle_closed(uv_handle_t *h) { member_settle(h->data); }
static void on_part_closed(void *arg) { member_settle(arg); }

void member_close(struct local_member *m, void (*cb)(void *arg), void *arg)
{
        assert(!m->closing);
        m->closing = true;
        m->closed_cb = cb;
        m->closed_arg = arg;
        if (m->admin != NULL) admin_close(m->admin, on_part_closed, m);
        if (m->transport != NULL) transport_close(m->transport, on_part_closed, m);
        if (m->driver != NULL) {
                m->store->ops->drain(m->store); /* no more callbacks into the driver */
                driver_close(m->driver);
                m->driver = NULL;
        }
        if (m->memory != NULL) m->store->ops->drain(m->store);
        else if (m->store != NULL) m->store->ops->close(m->store, on_part_closed, m);
        if (m->coming_back != NULL) join_ask_cancel(m->coming_back);
        uv_close((uv_handle_t *)&m->memory_turn, on_handle_closed);
        uv_close((uv_handle_t *)&m->come_back, on_handle_closed);
        uv_close((uv_handle_t *)&m->turn, on_handle_closed);
        uv_close((uv_handle_t *)&m->polled, on_handle_closed);
        uv_close((uv_handle_t *)&m->tick, on_handle_closed);
        uv_close((uv_handle_t *)&m->reconcile.timer, on_handle_closed);
        uv_close((uv_handle_t *)&m->level.timer, on_handle_closed);
}

/* ---- the driver's calls out ---- */

static const char *remedy(int err)
{
        if (err == E_STORAGE)
                return "; the disk gave an error, and what it did not confirm does not count: look at the "
                       "kernel's log (dmesg) and replace the disk if it is bad; this member may be started "
                       "again, the others go on without it";
        if (err == E_CORRUPT)
                return "; nothing of it is used any more: start this member again, it then checks its data "
                       "and "
                       "fetches it anew from the others when it is damaged";
        return "";
}

void member_fatal(struct local_member *m, int err, const char *why)
{
        char text[PATH_MAX + 600];
        if (m->fatal || m->closing) return;
        m->fatal = true;
        (void)snprintf(text, sizeof text, "%s/" MEMBER_STORE_DIR ": %s%s", m->dir, why, remedy(err));
        m->hooks->on_fatal(m->arg, err, text);
}

static void drv_send(void *arg, uint64_t to, enum raft_channel channel, struct blob frame)
{
        struct local_member *m = arg;
        if (!m->closing) transport_send(m->transport, to, channel, frame);
}

static int raise_level(
        void *arg, struct tx *tx, const struct level_op *op, struct arena *a, struct op_outcome *ret)
{
        struct local_member *m = arg;
        return level_op_evaluate(m->driver, tx, op, a, ret);
}

/* Operations about members are judged by what the leader sees. A transfer is begun by the reconciler. */
static int evaluate_own(struct local_member *m, struct tx *tx, struct blob request, struct buf *ret_reply)
{
        struct driver_status s;
        struct policy_view view = member_view(m, &s);
        struct join_context ctx = { .view = &view, .raise = raise_level, .arg = m };
        uint64_t to = 0;
        if (!join_op_is_transfer(request)) return join_op_evaluate(tx, request, &ctx, ret_reply);
        int err = join_op_transfer(tx, request, &view, &to, ret_reply);
        if (err == 0 && to != s.id) {
                reconcile_transfer(m, to);
        }
        return err;
}

static int drv_evaluate(void *arg, struct tx *tx, struct blob request, uint64_t index, struct buf *ret_reply)
{
        struct local_member *m = arg;
        if (join_op_is(request)) return evaluate_own(m, tx, request, ret_reply);
        return m->hooks->evaluate != NULL ? m->hooks->evaluate(m->arg, tx, request, index, ret_reply)
                                          : E_UNSUPPORTED;
}

static void drv_state(void *arg)
{
        struct local_member *m = arg;
        m->driver_state_changed = true;
        if (!m->closing && m->hooks->on_state != NULL) m->hooks->on_state(m->arg);
}

static void drv_applied(void *arg, uint64_t index)
{
        struct local_member *m = arg;
        m->driver_state_changed = true; /* the member table may have changed */
        if (!m->closing && m->hooks->on_applied != NULL) m->hooks->on_applied(m->arg, index);
}

static void drv_fatal_cb(void *arg, int err, const char *why) { member_fatal(arg, err, why); }

static const struct driver_ops driver_ops = {
        .send = drv_send,
        .evaluate = drv_evaluate,
        .on_state = drv_state,
        .on_applied = drv_applied,
        .on_fatal = drv_fatal_cb,
};

static const struct driver_ops witness_ops = {
        .send = drv_send, .on_state = drv_state, .on_applied = drv_applied, .on_fatal = drv_fatal_cb
};

/* ---- the transport's calls ---- */

static void net_receive(void *arg, uint64_t from, enum raft_channel channel, struct blob frame)
{
        struct local_member *m = arg;
        if (m->driver != NULL && !m->fatal) driver_receive(m->driver, from, channel, frame);
}

static void net_link(void *arg, uint64_t peer, bool up, bool reset)
{
        struct local_member *m = arg;
        if (m->driver == NULL || m->closing) return;
        driver_link(m->driver, peer, up, reset);
        if (up && m->hooks->on_link != NULL) m->hooks->on_link(m->arg, peer);
}

static void net_secret(void *arg, uint64_t from, struct blob secret)
{
        struct local_member *m = arg;
        if (!m->closing && m->hooks->on_secret != NULL) m->hooks->on_secret(m->arg, from, secret);
}

void member_send_secret(struct local_member *m, uint64_t to, struct blob secret)
{
        uint64_t ids[TRANSPORT_PEERS_MAX];
        if (m->transport == NULL || m->closing) return;
        uint32_t n = to != 0 ? 0 : transport_peers(m->transport, ids, TRANSPORT_PEERS_MAX);
        if (to != 0) transport_send_secret(m->transport, to, secret);
        for (uint32_t i = 0; i < n; i++) transport_send_secret(m->transport, ids[i], secret);
}

static void net_bulk(void *arg, uint64_t peer, bool up)
{
        struct local_member *m = arg;
        if (m->driver != NULL && !m->closing) driver_bulk(m->driver, peer, up);
}

static void net_release(void *arg, struct release *ret)
{
        struct local_member *m = arg;
        if (m->driver != NULL) driver_release(m->driver, ret);
}

static void net_peer_release(void *arg, uint64_t peer, const struct release *r)
{
        struct local_member *m = arg;
        if (m->driver != NULL && !m->closing) driver_peer_release(m->driver, peer, r);
}

/* The members' tables are committed, and ids never come back: there is nothing to wait for. */
static void net_told_removed(void *arg, uint64_t peer)
{
        struct local_member *m = arg;
        char name[PKI_NAME_MAX + 1], *why;
        if (m->closing || m->fatal) return;
        member_name_of(m, peer, name);
        why = xasprintf("'%s' says that this member, '%s' (%016llx), was removed from the cluster, or has "
                        "come back under "
                        "another id since; to use this machine again, move %s away and join with a new token",
                name, m->identity.name, (unsigned long long)m->identity.raft_id, m->dir);
        member_fatal(m, E_REMOVED, why);
        free(why);
}

static bool net_lineage(void *arg, uint64_t *ret_epoch)
{
        struct local_member *m = arg;
        struct tx *tx;
        bool known = false;
        if (m->witness || m->closing || m->store->ops->read_begin(m->store, &tx) != 0) return false;
        if (lineage_get(tx, ret_epoch, &known) != 0) known = false;
        m->store->ops->read_end(m->store, tx);
        return known;
}

static void net_outdated(void *arg, uint64_t epoch)
{
        struct local_member *m = arg;
        (void)snprintf(m->outdated, sizeof m->outdated,
                "the cluster was restored or recovered without this member (history %llu): what it holds "
                "belongs to "
                "the past. To go on with the cluster: move %.150s away, and 'raftctl join' with a new token",
                (unsigned long long)epoch, m->dir);
        member_fatal(m, E_STALE, m->outdated);
}

static const struct transport_ops transport_ops = {
        .lineage = net_lineage,
        .outdated = net_outdated,
        .removed = member_removed,
        .told_removed = net_told_removed,
        .release = net_release,
        .peer_release = net_peer_release,
        .receive = net_receive,
        .link = net_link,
        .bulk = net_bulk,
        .secret = net_secret,
        .check = member_check,
        .join = join_serve,
};

/* ---- time ---- */

/* Only wakes the loop: the driver's timers are looked at in on_polled, after what has arrived. A process that was kept
 * from running for a while would otherwise take its own sleep for the silence of the others, and stand for election or
 * step down with their heartbeats in its sockets. */
static void on_tick(uv_timer_t *t) {}

/* Everything that this turn has brought is with the driver; what it has put off for that, and what is due, goes on now. */
static void on_polled(uv_check_t *h)
{
        struct local_member *m = h->data;
        if (m->closing || m->fatal) return;
        if (driver_deadline_ms(m->driver) <= member_now_ms(m)) driver_tick(m->driver);
}

/* Once in each loop turn, after everything that called into the driver: membership, then the next deadline.
 */
static void on_turn(uv_prepare_t *h)
{
        struct local_member *m = h->data;
        if (m->closing || m->fatal) return;
        if (m->driver_state_changed) {
                m->driver_state_changed = false;
                member_peers_update(m);
                reconcile_kick(m);
        }
        if (m->store->ops->is_damaged != NULL && m->store->ops->is_damaged(m->store))
                member_fatal(m, E_CORRUPT, "a row of the state or the log is damaged");
        if (m->hooks->on_room != NULL && m->disk_full != m->store->ops->is_full(m->store)) {
                m->disk_full = !m->disk_full;
                m->hooks->on_room(m->arg, m->disk_full);
        }
        if (m->witness) witness_trim(m);
        uint64_t now = member_now_ms(m), due = driver_deadline_ms(m->driver);
        uint64_t wait = due > now ? MIN(due - now, (uint64_t)TICK_MAX_MS) : 0;
        uv_update_time(m->loop);
        int rc = uv_timer_start(&m->tick, on_tick, wait, 0);
        assert(rc == 0);
}

/* ---- opening ---- */

static int check_identity(struct local_member *m, struct fail *f)
{
        struct pki_identity id;
        int err = pki_identity(&m->pki.cert, &id, f);
        if (err != 0) return err;
        if (strcmp(id.cluster, m->identity.cluster) != 0 || strcmp(id.name, m->identity.name) != 0)
                return fail_set(f, E_AUTH,
                        "%s holds the certificate of '%s' and the identity of '%s': pieces of two machines "
                        "were mixed; restore "
                        "the right ones, or move the directory away and join anew",
                        m->dir, id.name, m->identity.name);
        if (id.role != PKI_CONTROLLER && id.role != PKI_WITNESS)
                return fail_set(f, E_AUTH, "the certificate in %s is that of a %s, not of a controller",
                        m->dir, pki_role_name(id.role));
        if (m->witness != (id.role == PKI_WITNESS))
                return fail_set(f, E_CONFIG, "%s belongs to a %s: start %s", m->dir, pki_role_name(id.role),
                        m->witness ? "without --witness and --volatile" : "with --witness");
        return 0;
}

/* Whatever id was there before: a member that has forgotten what it promised under that one never uses it again. */
static void make_volatile(struct local_member *m)
{
        SET(&m->identity, member_identity, raft_id, identity_new_id(m->env));
        SET(&m->identity, member_identity, is_volatile, true);
        m->is_volatile = m->witness = true;
}

/* Its certificate is not there: it never joined, joining was interrupted, or somebody has deleted it. */
static int no_certificate(struct local_member *m, struct fail *f)
{
        struct fail none = { 0 };
        struct stat st;
        char store[PATH_MAX];
        int err = identity_load(m->dir, &m->arena, &m->identity, &none);
        if (err == E_NOT_FOUND && snprintf(store, sizeof store, "%s/" MEMBER_STORE_DIR, m->dir) < PATH_MAX &&
                stat(store, &st) != 0)
                return fail_set(f, E_NOT_FOUND,
                        "%.60s: this machine is not a member of a cluster yet: found one with 'raftctl init "
                        "--address IP', or join one with 'raftctl join TOKEN --address IP'",
                        m->dir);
        if (err == 0 && !m->identity.started)
                return fail_set(f, E_NOT_FOUND,
                        "%.60s: joining was not finished: repeat 'raftctl join TOKEN --address IP' with the "
                        "same "
                        "token",
                        m->dir);
        return fail_set(f, E_NOT_FOUND,
                "%.60s/pki is not complete, but this machine is a member: put a copy of it back; or treat "
                "the "
                "machine as lost: 'raftctl token create --replaces %.40s' on another member",
                m->dir, err == 0 ? m->identity.name : "NAME");
}

static int pki_damaged(struct local_member *m, struct fail *f)
{
        return fail_wrap(f,
                "%.60s/pki is damaged; restore it, or join anew ('raftctl token create --replaces NAME' on "
                "another member)",
                m->dir);
}

static int load_identity(struct local_member *m, struct fail *f)
{
        int err = pki_dir_load(m->dir, &m->pki, f);
        if (err == E_NOT_FOUND) return no_certificate(m, f);
        if (err != 0) return pki_damaged(m, f);
        err = identity_load(m->dir, &m->arena, &m->identity, f);
        if (err != 0)
                return fail_wrap(f, "restore it, or have it made anew by 'raftctl rejoin --address ADDRESS'");
        if (m->is_volatile || m->identity.is_volatile) make_volatile(m);
        if (err == 0) err = check_identity(m, f);
        if (err != 0) return err;
        err = tls_ctx_new(&(struct tls_config){ .ca = &m->pki.ca,
                                  .cert = &m->pki.cert,
                                  .key = &m->pki.key,
                                  .cluster = m->identity.cluster,
                                  .roles = PKI_ROLE_BIT(PKI_CONTROLLER) | PKI_ROLE_BIT(PKI_WITNESS),
                                  .allow_anonymous = true,
                                  .env = m->env },
                &m->tls, f);
        return err != 0 ? pki_damaged(m, f) : 0;
}

static int refuse_amnesia(struct local_member *m, const char *store_dir, struct fail *f)
{
        char path[PATH_MAX + 16];
        struct stat st;
        (void)snprintf(path, sizeof path, "%s/member.mdb", store_dir);
        int rc = m->identity.started ? stat(path, &st) : 0;
        if (!m->identity.started || (rc == 0 && st.st_size > 0)) return 0;
        if (rc != 0 && errno != ENOENT) return fail_set(f, -errno, "%s: %s", path, strerror(errno));
        return fail_set(f, E_STALE,
                "%s is %s, but '%s' has voted before. Here: 'raftctl rejoin', and it comes back under a "
                "new id; or, for another machine, "
                "on another member: 'raftctl token create --replaces %s'",
                path, rc == 0 ? "empty" : "gone", m->identity.name, m->identity.name);
}

static int check_store(struct local_member *m, const char *store_dir, struct fail *f)
{
        struct store_identity sid = { 0 };
        int err = store_lmdb_identity(m->store, &sid);
        if (err == 0 && sid.member_id == 0 && !m->identity.started) {
                sid.member_id = m->identity.raft_id;
                (void)snprintf(sid.cluster_uuid, sizeof sid.cluster_uuid, "%s", m->identity.cluster);
                err = store_lmdb_set_identity(m->store, &sid);
        }
        if (err != 0) return fail_set(f, err, "%s: %s", store_dir, err_text(err));
        if (sid.member_id != m->identity.raft_id || strcmp(sid.cluster_uuid, m->identity.cluster) != 0)
                return fail_set(f, E_AUTH,
                        "%s holds the data of another member (%016llx, this is %016llx '%s'): restore the "
                        "right directory, or move it "
                        "away and join anew",
                        store_dir, (unsigned long long)sid.member_id, (unsigned long long)m->identity.raft_id,
                        m->identity.name);
        if (m->identity.started) return 0;
        SET(&m->identity, member_identity, started, true);
        return identity_save(m->dir, &m->identity, f);
}

static int open_store(struct local_member *m, struct fail *f)
{
        char dir[PATH_MAX];
        struct store_lmdb_config c = { .dir = dir };
        if (m->is_volatile) {
                witness_open_memory(m);
                return 0;
        }
        if (m->witness) witness_store_config(m, &c);
        int n = snprintf(dir, sizeof dir, "%s/" MEMBER_STORE_DIR, m->dir);
        if (n < 0 || (size_t)n >= sizeof dir)
                return fail_set(f, E_TOO_LARGE, "path too long: %.100s", m->dir);
        int err = refuse_amnesia(m, dir, f);
        if (err == 0) err = store_lmdb_open(m->loop, &c, &m->store, f);
        if (err != 0) return err;
        m->live++;
        return check_store(m, dir, f);
}

/* Reads all of the store; mends it when the others can. */
static int examine_store(struct local_member *m, struct fail *f)
{
        char dir[PATH_MAX];
        int n = snprintf(dir, sizeof dir, "%s/" MEMBER_STORE_DIR, m->dir);
        if (n < 0 || (size_t)n >= sizeof dir)
                return fail_set(f, E_TOO_LARGE, "path too long: %.100s", m->dir);
        int err = refuse_amnesia(m, dir, f);
        if (err == 0) err = store_lmdb_examine(dir, f);
        return err != 0 ? heal_store(m, err, f) : 0;
}

static int open_transport(struct local_member *m, const char *listen, struct fail *f)
{
        struct transport_config c = {
                .id = m->identity.raft_id, .ctx = m->tls, .election_ms = m->election_ms, .env = m->env
        };
        const char *where = listen != NULL && listen[0] != '\0' ? listen : m->identity.address;
        if (conn_parse_address(where, RAFT_PORT, &c.listen) != 0)
                return fail_set(f, E_INVALID, "raft.listen: '%s' is not an IP address with a port", where);
        m->live++;
        return transport_open(m->loop, &c, &transport_ops, m, &m->transport, f);
}

static int open_driver(struct local_member *m, struct fail *f)
{
        struct driver_config c = {
                .id = m->identity.raft_id,
                .name = m->identity.name,
                .address = m->identity.address,
                .election_ms = m->election_ms,
                .heartbeat_ms = m->heartbeat_ms,
                .seed = env_random_u64(m->env),
                .store = m->store,
                .env = m->env,
                .ops = m->witness ? &witness_ops : &driver_ops,
                .arg = m,
                .snapshot_entries = m->snapshot_entries,
                .snapshot_bytes = (size_t)16 << 20,
                .trailing_entries = 512,
        };
        if (m->witness) {
                c.lazy = c.log_only = true;
                /* Three to four of these are kept; in memory, a fifth is for what is on its way. */
                c.snapshot_bytes = witness_log_bytes(m) / (m->is_volatile ? 5 : 4);
                c.snapshot_entries = (unsigned)(c.snapshot_bytes / WITNESS_ENTRY_BYTES);
                c.cache_bytes = WITNESS_CACHE_BYTES;
                c.job_bytes = WITNESS_JOB_BYTES;
        }
        return driver_open(&c, &m->driver, f);
}

static void start_handles(struct local_member *m)
{
        int rc = uv_prepare_init(m->loop, &m->turn);
        if (rc == 0) rc = uv_check_init(m->loop, &m->polled);
        if (rc == 0) rc = uv_timer_init(m->loop, &m->tick);
        if (rc == 0) rc = uv_idle_init(m->loop, &m->memory_turn);
        if (rc == 0) rc = uv_timer_init(m->loop, &m->come_back);
        assert(rc == 0);
        m->turn.data = m->polled.data = m->tick.data = m->memory_turn.data = m->come_back.data = m;
        m->live += 5;
        reconcile_open(m);
        member_level_open(m);
}

int member_open(
        uv_loop_t *loop, const struct member_config *config, struct local_member **ret, struct fail *f)
{
        struct local_member *m = xnew(struct local_member);
        *ret = m;
        m->loop = loop;
        m->env = config->env != NULL ? config->env : env_real();
        m->hooks = config->hooks;
        m->arg = config->arg;
        m->dir = xstrdup(config->dir);
        m->election_ms = config->election_ms != 0 ? config->election_ms : ELECTION_MS;
        m->snapshot_entries = config->snapshot_entries != 0 ? config->snapshot_entries : SNAPSHOT_ENTRIES;
        m->witness = config->witness || config->is_volatile;
        m->is_volatile = config->is_volatile;
        m->witness_log_bytes = config->witness_log_bytes;
        m->level_raise_ms = config->level_raise_ms;
        m->promote_after_ms = config->promote_after_ms;
        m->heartbeat_ms = config->heartbeat_ms != 0 ? config->heartbeat_ms : HEARTBEAT_MS;
        m->incarnation = env_random_u64(m->env);
        arena_init(&m->arena, IDENTITY_ARENA);
        arena_init(&m->members_arena, IDENTITY_ARENA);
        start_handles(m);
        int err = load_identity(m, f);
        if (err == 0 && config->heal && !m->witness && !m->is_volatile) err = examine_store(m, f);
        if (err == 0) err = open_store(m, f);
        if (err == 0) err = open_transport(m, config->listen, f);
        if (err == 0) err = open_driver(m, f);
        if (err == 0 && config->run_dir != NULL) {
                m->live++;
                err = admin_open(m, config->run_dir, &m->admin, f);
        }
        if (err != 0) return err;
        m->driver_state_changed = true;
        int rc = uv_prepare_start(&m->turn, on_turn);
        if (rc == 0) rc = uv_check_start(&m->polled, on_polled);
        assert(rc == 0);
        rc = uv_timer_start(&m->tick, on_tick, 0, 0); /* a first turn soon */
        assert(rc == 0);
        if (m->is_volatile) witness_come_back(m);
        return m->fatal ? fail_set(f, E_NOT_FOUND, "%s/identity does not say where other members are", m->dir)
                        : 0;
}

/* ---- operations ---- */

struct member_op_call {
        struct local_member *m;
        member_op_fn *cb;
        void *arg;
};

static void on_op(void *arg, int err, uint64_t index, uint64_t term, struct blob reply)
{
        struct member_op_call *call = arg;
        struct arena a;
        struct op_outcome out = { 0 };
        struct fail f = { 0 };
        arena_init(&a, OUTCOME_ARENA);
        /* a leader of an older release may not know the operation, and says so in another form */
        if (err == 0 &&
                (dec_msgpack(&op_outcome_type, reply, DEC_TOLERANT, &a, &out, &f) != 0 || out.err > 0))
                err = E_UNSUPPORTED;
        call->m->ops--;
        call->cb(call->arg, err, &out);
        arena_done(&a);
        free(call);
}

void member_submit(struct local_member *m, const char *path, const struct type_desc *body_type,
        const void *body, unsigned timeout_ms, member_op_fn *cb, void *arg)
{
        static const struct op_outcome nothing;
        struct buf b = { 0 };
        uint8_t id[REQUEST_ID_SIZE];
        int err = m->ops >= MEMBER_OPS_MAX ? E_BUSY : m->closing ? E_CANCELED : 0;
        if (err == 0)
                err = join_op_encode(path, body_type, body, m->env->wall_ms(m->env), m->identity.name, &b);
        if (err != 0) {
                buf_done(&b);
                cb(arg, err, &nothing);
                return;
        }
        struct member_op_call *call = xnew(struct member_op_call);
        *call = (struct member_op_call){ m, cb, arg };
        uint64_t n = ++m->op_counter;
        for (unsigned i = 0; i < 8; i++) {
                id[i] = (uint8_t)(m->incarnation >> (56 - 8 * i));
                id[8 + i] = (uint8_t)(n >> (56 - 8 * i));
        }
        m->ops++;
        driver_submit(m->driver, id, buf_blob(&b), member_now_ms(m) + timeout_ms, on_op, call);
        buf_done(&b);
}

int member_sign(struct local_member *m, const struct pem *csr, enum pki_role role, const char *name,
        const char *const *sans, uint32_t sans_n, struct pem *ret_cert, struct fail *f)
{
        if (m->pki.ca_key.n == 0)
                return fail_set(f, E_UNSUPPORTED,
                        "this member has no signing key (witnesses have none): ask a controller");
        struct pki_subject s = { .cluster = m->identity.cluster,
                .role = role,
                .name = name,
                .addresses = sans,
                .addresses_n = sans_n,
                .now_s = m->env->wall_ms(m->env) / 1000 };
        return pki_sign(&m->pki.ca, &m->pki.ca_key, csr, &s, ret_cert, f);
}

struct driver *member_driver(struct local_member *m) { return m->driver; }
struct store *member_store(struct local_member *m) { return m->store; }
struct transport *member_transport(struct local_member *m) { return m->transport; }
const struct member_identity *member_identity(const struct local_member *m) { return &m->identity; }
struct tls_ctx *member_tls(struct local_member *m) { return m->tls; }
const char *member_dir(const struct local_member *m) { return m->dir; }
