/* Frames from members into a driver over the memory store, one of three voters, with time, a disk, a client
 * and restarts in between. The input is a row of steps; frames are arbitrary, or almost what the driver
 * expects next, so that the search gets deep. Whatever comes in, the driver does not break its own promises:
 * terms, commit and applied index do not go back; what it knows to be committed stays as it is, unless it
 * stops by itself or takes a snapshot; every call is answered once; after a crash it starts from what was
 * durable. */
#include <string.h>

#include "raftctl/driver_int.h"
#include "raftctl/store_mem.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/stream.h"

enum { SELF = 1, PEERS = 3, STEPS_MAX = 300, COMMITS_MAX = 512 };

struct bed {
        struct env env; /* first */
        uint64_t now, seed, incarnation[PEERS], seq[PEERS][CHANNEL_N];
        struct store_mem *store;
        struct driver *driver;
        bool fatal;
        uint64_t term, commit, applied, durable; /* durable: applied at the start */
        uint64_t committed[COMMITS_MAX];         /* a hash by index, 0 = not seen */
        unsigned asked, answered;
        struct arena arena;
        const char *step_name;
};

/* ---- what the driver calls ---- */

static uint64_t env_now(struct env *env) { return ((struct bed *)env)->now; }
static uint64_t env_wall(struct env *env) { return ((struct bed *)env)->now + 1700000000000; }
static void env_fill(struct env *env, void *p, size_t n)
{
        struct bed *b = (struct bed *)env;
        uint8_t *to = p;
        for (size_t i = 0; i < n; i++) {
                b->seed = b->seed * 6364136223846793005 + 1442695040888963407;
                to[i] = (uint8_t)(b->seed >> 56);
        }
}
static void on_send(void *arg, uint64_t to, enum raft_channel channel, struct blob frame)
{
        struct frame_header h;
        struct bed *b = arg;
        struct fail why = { 0 };
        void *msg;
        FUZZ_CHECK(to != SELF && to != 0 && (unsigned)channel < CHANNEL_N);
        FUZZ_CHECK(frame_header(frame, &h) == 0);
        /* what we send, others take, unless a peer has driven the term to its end */
        if (frame_decode(frame, &h, &b->arena, &msg, &why) == 0) return;
        if (raft_current_term(&b->driver->raft) > FRAME_NUMBER_MAX - STEPS_MAX) return;
        (void)fprintf(stderr, "frame of kind %u: %s\n", h.kind, why.text);
        abort();
}
static int on_evaluate(void *arg, struct tx *tx, struct blob request, uint64_t index, struct buf *ret_reply)
{
        (void)arg;
        (void)index;
        buf_put_str(ret_reply, "done");
        if (request.n > 0 && request.p[0] == 'w') (void)tx_put(tx, BLOB("key", 3), request);
        return request.n > 0 && request.p[0] == 'r' ? E_INVALID : 0;
}
static void on_fatal(void *arg, int err, const char *why)
{
        struct bed *b = arg;
        FUZZ_CHECK(!b->fatal && err != 0 && why != NULL);
        b->fatal = true;
}
static const struct driver_ops ops = { .send = on_send, .evaluate = on_evaluate, .on_fatal = on_fatal };

static void on_reply(void *arg, int err, uint64_t index, uint64_t term, struct blob reply)
{
        struct bed *b = arg;
        b->answered++;
        FUZZ_CHECK(err == 0 || err == E_NO_QUORUM || err == E_UNKNOWN_OUTCOME || err == E_CANCELED ||
                   err == E_LIMIT);
        (void)index;
        (void)term;
        (void)reply;
}
static void on_read(void *arg, int err, uint64_t index, uint64_t term)
{
        struct bed *b = arg;
        b->answered++;
        if (err == 0) FUZZ_CHECK(b->driver == NULL || index <= b->driver->applied.index);
        (void)term;
}
static void on_change(void *arg, int err, const char *why)
{
        ((struct bed *)arg)->answered++;
        FUZZ_CHECK(err == 0 || why != NULL);
}

/* ---- promises ---- */

static uint64_t hash_of(const struct entry *e)
{
        uint64_t h = 1469598103934665603u ^ e->type ^ e->term << 8;
        for (size_t i = 0; i < e->n; i++) h = (h ^ e->data[i]) * 1099511628211u;
        return h | 1;
}

static void check(struct bed *b)
{
        struct driver *d = b->driver;
        if (b->fatal || d->fatal || !d->started) return;
        uint64_t term = raft_current_term(&d->raft), commit = raft_commit_index(&d->raft);
        FUZZ_CHECK(term >= b->term && commit >= b->commit);
        FUZZ_CHECK(d->applied.index >= b->applied);
        FUZZ_CHECK(d->installing ||
                   (d->applied.index <= MAX(commit, b->durable) && commit <= raft_last_index(&d->raft)));
        b->term = term;
        b->commit = commit;
        b->applied = d->applied.index;
        if (d->installing) return;
        for (uint64_t i = d->log.first; i <= MIN(commit, d->log.last) && i < COMMITS_MAX; i++) {
                uint64_t h = hash_of(log_cache_get(&d->log, i));
                FUZZ_CHECK(b->committed[i] == 0 || b->committed[i] == h);
                b->committed[i] = h;
        }
        struct driver_status st;
        driver_status(d, &st);
        FUZZ_CHECK(st.term == term && st.members_n <= ARRAY_LEN(st.members));
}

/* ---- life ---- */

static void open_driver(struct bed *b)
{
        struct driver_config c = { .id = SELF,
                .name = "a",
                .address = "a:1",
                .election_ms = 150,
                .heartbeat_ms = 25,
                .seed = 1,
                .store = store_mem_store(b->store),
                .env = &b->env,
                .ops = &ops,
                .arg = b,
                .snapshot_entries = 20,
                .snapshot_bytes = 1 << 16,
                .trailing_entries = 8 };
        struct fail why = { 0 };
        FUZZ_CHECK(driver_open(&c, &b->driver, &why) == 0);
        /* the commit index is not durable, and what came from a leader that nobody else follows may change */
        b->applied = b->durable = store_mem_applied(b->store).index;
        for (uint64_t i = b->applied + 1; i < COMMITS_MAX; i++) b->committed[i] = 0;
        b->term = b->commit = 0;
        b->fatal = false;
}

static bool keep(void *arg) { return input_below(arg, 2) == 0; }

static void close_driver(struct bed *b, struct input *in)
{
        struct driver *d = b->driver;
        drv_process_dies(d);
        store_mem_crash(b->store, keep, in);
        b->driver = NULL;
        driver_close(d);
        FUZZ_CHECK(b->asked == b->answered);
}

static void restart(struct bed *b, struct input *in)
{
        uint64_t applied = store_mem_applied(b->store).index;
        close_driver(b, in);
        FUZZ_CHECK(store_mem_applied(b->store).index >= applied);
        open_driver(b);
}

/* ---- steps ---- */

static void receive(
        struct bed *b, unsigned peer, enum raft_channel channel, enum raft_frame kind, const void *msg)
{
        struct buf out = { 0 };
        struct frame_header h = {
                .kind = kind, .incarnation = b->incarnation[peer], .seq = ++b->seq[peer][channel]
        };
        frame_encode(&out, &h, msg);
        driver_receive(b->driver, 2 + peer, channel, buf_blob(&out));
        buf_done(&out);
}

/* Any bytes behind a header in order, or any bytes at all. */
static void step_raw(struct bed *b, struct input *in)
{
        unsigned peer = input_below(in, PEERS), how = input_u8(in);
        enum raft_channel channel = (enum raft_channel)(how & 1);
        struct blob bytes = input_blob(in);
        struct buf out = { 0 };
        if ((how & 2) == 0) {
                buf_put_u8(&out, input_u8(in));
                buf_put_be(&out, b->incarnation[peer], 8);
                buf_put_be(&out, ++b->seq[peer][channel], 8);
        }
        buf_put(&out, bytes.p, bytes.n);
        driver_receive(b->driver, 2 + peer, channel, buf_blob(&out));
        buf_done(&out);
}

static uint64_t near(struct input *in, uint64_t v)
{
        unsigned k = input_below(in, 16);
        return k < 12 ? v : k == 15 ? input_be(in, 6) : v + k > 13 ? v + k - 13 : 0;
}

static struct blob some_writeset(struct bed *b, struct input *in)
{
        struct overlay *o;
        struct buf out = { 0 };
        struct tx *view;
        struct store *s = store_mem_store(b->store);
        uint64_t base = near(in, b->driver->applied.writeset_index);
        FUZZ_CHECK(s->ops->read_begin(s, &view) == 0);
        o = overlay_new(view);
        struct blob v = input_take(in, input_below(in, 32));
        (void)tx_put(overlay_tx(o), BLOB("key", 3), v);
        FUZZ_CHECK(writeset_encode(o, base, &out) == 0);
        overlay_free(o);
        s->ops->read_end(s, view);
        const void *copy = arena_memdup(&b->arena, out.p, out.n);
        size_t n = out.n;
        buf_done(&out);
        return BLOB(copy, n);
}

static struct blob some_configuration(struct bed *b, struct input *in)
{
        struct raft_configuration c;
        struct buf out = { 0 };
        unsigned how = input_below(in, 4), id = 1 + input_below(in, 5);
        char address[8];
        (void)snprintf(address, sizeof address, "%c:1", 'a' + (int)id - 1);
        if (how == 0) conf_without(&b->driver->raft.configuration, id, &c);
        else if (how == 1 || conf_with_member(&b->driver->raft.configuration, id, address,
                                     (int)input_below(in, 3), &c) != 0)
                conf_with_role(&b->driver->raft.configuration, id, (int)input_below(in, 3), &c);
        conf_encode(&c, &out);
        raft_configuration_close(&c);
        const void *copy = arena_memdup(&b->arena, out.p, out.n);
        size_t n = out.n;
        buf_done(&out);
        return BLOB(copy, n);
}

static void step_append(struct bed *b, struct input *in)
{
        struct raft *r = &b->driver->raft;
        struct rf_append m = { 0 };
        struct rf_entry entries[8] = { 0 };
        unsigned peer = input_below(in, PEERS), n = input_below(in, 5);
        uint64_t term = MAX(1, near(in, raft_current_term(r))), prev = near(in, raft_last_index(r));
        SET(&m, rf_append, term, term);
        SET(&m, rf_append, prev_index, prev);
        SET(&m, rf_append, prev_term, near(in, step_term_of(b->driver, prev)));
        SET(&m, rf_append, commit, near(in, input_below(in, 2) ? raft_last_index(r) : raft_commit_index(r)));
        SET(&m, rf_append, epoch, input_u8(in));
        for (unsigned i = 0; i < n; i++) {
                unsigned type = input_below(in, 8);
                SET(&entries[i], rf_entry, term, near(in, term));
                SET(&entries[i], rf_entry, type,
                        type == 0   ? LOG_CHANGE
                        : type == 1 ? LOG_BARRIER
                                    : LOG_COMMAND);
                if (type != 1)
                        SET(&entries[i], rf_entry, data,
                                type == 0 ? some_configuration(b, in) : some_writeset(b, in));
        }
        SET(&m, rf_append, entries, entries);
        m.entries_n = n;
        receive(b, peer, CHANNEL_RAFT, raft_frame_APPEND, &m);
}

static void step_votes(struct bed *b, struct input *in)
{
        struct raft *r = &b->driver->raft;
        unsigned peer = input_below(in, PEERS), how = input_u8(in);
        if ((how & 1) != 0) {
                struct rf_vote_result m = { 0 };
                SET(&m, rf_vote_result, term, near(in, raft_current_term(r)));
                SET(&m, rf_vote_result, granted, (how & 2) != 0);
                SET(&m, rf_vote_result, pre, (how & 4) != 0);
                receive(b, peer, CHANNEL_RAFT, raft_frame_VOTE_RESULT, &m);
        } else if ((how & 2) != 0) {
                struct rf_vote m = { 0 };
                SET(&m, rf_vote, term, near(in, raft_current_term(r) + 1));
                SET(&m, rf_vote, last_index, near(in, raft_last_index(r)));
                SET(&m, rf_vote, last_term, near(in, step_term_of(b->driver, raft_last_index(r))));
                SET(&m, rf_vote, disrupt, (how & 4) != 0);
                SET(&m, rf_vote, pre, (how & 8) != 0);
                receive(b, peer, CHANNEL_RAFT, raft_frame_VOTE, &m);
        } else {
                struct rf_timeout_now m = { 0 };
                SET(&m, rf_timeout_now, term, near(in, raft_current_term(r)));
                SET(&m, rf_timeout_now, last_index, near(in, raft_last_index(r)));
                SET(&m, rf_timeout_now, last_term, near(in, step_term_of(b->driver, raft_last_index(r))));
                receive(b, peer, CHANNEL_RAFT, raft_frame_TIMEOUT_NOW, &m);
        }
}

static void step_result(struct bed *b, struct input *in)
{
        struct rf_append_result m = { 0 };
        struct driver *d = b->driver;
        unsigned peer = input_below(in, PEERS), how = input_u8(in);
        SET(&m, rf_append_result, term, near(in, raft_current_term(&d->raft)));
        SET(&m, rf_append_result, rejected, (how & 1) != 0 ? near(in, raft_last_index(&d->raft)) : 0);
        SET(&m, rf_append_result, last_index, near(in, raft_last_index(&d->raft)));
        SET(&m, rf_append_result, epoch, near(in, d->epoch));
        SET(&m, rf_append_result, full, (how & 6) == 6);
        if ((how & 8) != 0) {
                SET(&m, rf_append_result, hash_index, near(in, d->applied.writeset_index));
                SET(&m, rf_append_result, hash,
                        (how & 16) != 0 ? input_take(in, 32) : BLOB(d->applied.hash, 32));
                if (m.hash.n != 32) return;
        }
        receive(b, peer, CHANNEL_RAFT, raft_frame_APPEND_RESULT, &m);
}

/* A state of one row at the index that the begin said, or another one. */
static void some_state(const struct driver *d, struct input *in, bool whole, struct buf *out)
{
        struct buf row = { 0 };
        static const uint8_t key[] = { 0, 0, 'a' }, hash[32];
        uint64_t index = near(in, d->recv.index);
        buf_put_be(&row, index, 8);
        buf_put_be(&row, near(in, d->recv.last_term), 8);
        buf_put_be(&row, near(in, index), 8);
        buf_put(&row, hash, sizeof hash);
        stream_begin(out);
        stream_pair(out, BLOB(key, sizeof key), buf_blob(&row));
        stream_pair(out, BLOB("key", 3), input_take(in, input_below(in, 8)));
        if (whole) stream_end(out, 2);
        buf_done(&row);
}

/* The snapshot that a member with this state would send, begun, continued and perhaps damaged. */
static void step_snapshot(struct bed *b, struct input *in)
{
        struct driver *d = b->driver;
        unsigned peer = input_below(in, PEERS), how = input_u8(in);
        if ((how & 3) == 0) {
                struct rf_snap_begin m = { 0 };
                uint64_t index = near(in, raft_last_index(&d->raft) + 2),
                         term = MAX(1, near(in, raft_current_term(&d->raft)));
                SET(&m, rf_snap_begin, transfer, input_below(in, 3));
                SET(&m, rf_snap_begin, term, term);
                SET(&m, rf_snap_begin, index, index);
                SET(&m, rf_snap_begin, last_term, near(in, term));
                SET(&m, rf_snap_begin, conf_index, near(in, 1));
                SET(&m, rf_snap_begin, conf, some_configuration(b, in));
                receive(b, peer, CHANNEL_BULK, raft_frame_SNAP_BEGIN, &m);
        } else if ((how & 3) == 1) {
                struct rf_snap_ack m = { 0 };
                SET(&m, rf_snap_ack, transfer, near(in, d->transfer_no));
                SET(&m, rf_snap_ack, seq, input_below(in, 4));
                SET(&m, rf_snap_ack, err, (how & 64) != 0 ? E_CORRUPT : 0);
                receive(b, peer, CHANNEL_BULK, raft_frame_SNAP_ACK, &m);
        } else {
                struct rf_snap_chunk m = { 0 };
                struct buf out = { 0 };
                bool last = (how & 32) == 0;
                some_state(d, in, last, &out);
                if ((how & 8) != 0) out.p[input_be(in, 2) % out.n] ^= 1;
                SET(&m, rf_snap_chunk, transfer, (how & 16) != 0 ? input_below(in, 3) : d->recv.transfer);
                SET(&m, rf_snap_chunk, seq, near(in, d->recv.seq_in + 1));
                SET(&m, rf_snap_chunk, last, last);
                SET(&m, rf_snap_chunk, data, buf_blob(&out));
                receive(b, peer, CHANNEL_BULK, raft_frame_SNAP_CHUNK, &m);
                buf_done(&out);
        }
}

static void step_call(struct bed *b, struct input *in)
{
        uint8_t id[REQUEST_ID_SIZE] = { (uint8_t)input_below(in, 8) };
        unsigned how = input_below(in, 8);
        uint64_t deadline = b->now + 4 * input_u8(in);
        b->asked++;
        if (how < 4)
                driver_submit(b->driver, id,
                        BLOB(how < 2       ? "w1"
                                : how == 2 ? "r"
                                           : "n",
                                how < 2 ? 2 : 1),
                        deadline, on_reply, b);
        else if (how < 6) driver_read(b->driver, deadline, on_read, b);
        else
                driver_change(b->driver, (enum member_change)input_below(in, CHANGE_TRANSFER + 1),
                        1 + input_below(in, 5), "x:1", deadline, on_change, b);
}

static void step(struct bed *b, struct input *in)
{
        unsigned what = input_below(in, 16), k;
        if (!b->driver->started && what >= 6 && what <= 12) what = 2; /* a sole voter writes its term first */
        static const char *const names[16] = { "tick", "tick", "disk", "disk", "disk", "raw", "append",
                "append", "append", "votes", "result", "result", "snapshot", "call", "link", "restart" };
        b->step_name = names[what];
        switch (what) {
        case 0:
        case 1:
                b->now += input_u8(in);
                driver_tick(b->driver);
                break;
        case 2:
        case 3:
        case 4:
                for (k = 1 + input_below(in, 4); k > 0; k--) (void)store_mem_step(b->store);
                break;
        case 5: step_raw(b, in); break;
        case 6:
        case 7:
        case 8: step_append(b, in); break;
        case 9: step_votes(b, in); break;
        case 10:
        case 11: step_result(b, in); break;
        case 12: step_snapshot(b, in); break;
        case 13: step_call(b, in); break;
        case 14:
                k = input_below(in, PEERS);
                if (input_below(in, 2) != 0) {
                        b->incarnation[k]++;
                        b->seq[k][0] = b->seq[k][1] = 0;
                }
                driver_link(b->driver, 2 + k, input_below(in, 2) != 0, input_below(in, 2) != 0);
                break;
        default:
                if (input_below(in, 4) == 0) restart(b, in);
                break;
        }
}

/* FUZZ_TRACE=1: a line for each step. */
static void trace(struct bed *b, unsigned i)
{
        static int on = -1;
        if (on < 0) on = getenv("FUZZ_TRACE") != NULL;
        if (on == 0) return;
        struct driver *d = b->driver;
        struct raft *r = &d->raft;
        (void)fprintf(stderr,
                "%u: %s state %d term %llu last %llu commit %llu applied %llu installing %d fatal %d\n", i,
                b->step_name, d->started ? (int)raft_state(r) : -1, (unsigned long long)raft_current_term(r),
                (unsigned long long)raft_last_index(r), (unsigned long long)raft_commit_index(r),
                (unsigned long long)d->applied.index, d->installing, b->fatal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input in = { data, size };
        struct bed *b = xnew(struct bed);
        struct driver_founder founders[] = { { SELF, "a:1", MEMBER_VOTER }, { 2, "b:1", MEMBER_VOTER },
                { 3, "c:1", MEMBER_VOTER } };
        struct fail why = { 0 };
        b->env = (struct env){ env_now, env_wall, env_fill };
        b->now = 1000;
        b->store = store_mem_new();
        for (unsigned i = 0; i < PEERS; i++) b->incarnation[i] = 1;
        uint32_t n = 1 + 2 * (input_u8(&in) & 1);
        FUZZ_CHECK(driver_found(store_mem_store(b->store), founders, n, BLOB(NULL, 0),
                           (void (*)(void *))store_mem_run, b->store, &why) == 0);
        open_driver(b);
        for (unsigned i = 0; i < STEPS_MAX && in.n > 0 && !b->fatal; i++) {
                step(b, &in);
                trace(b, i);
                check(b);
                arena_reset(&b->arena);
        }
        close_driver(b, &in);
        store_mem_free(b->store);
        arena_done(&b->arena);
        free(b);
        return 0;
}
