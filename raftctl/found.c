/* The first member of a new cluster. */
#include "raftctl/conf.h"

struct founding {
        bool done;
        int err;
};

static void founded(struct store_job *job, int err)
{
        struct founding *f = job->data;

        f->done = true;
        f->err = err;
}

static int make_conf(const struct driver_founder *founders, uint32_t n, struct buf *out, struct fail *f)
{
        struct raft_configuration c;
        int err;

        raft_configuration_init(&c);
        for (uint32_t i = 0; i < n; i++) {
                struct raft_configuration next;
                err = conf_with_member(
                        &c, founders[i].id, founders[i].address, conf_role_to_core(founders[i].role), &next);
                raft_configuration_close(&c);
                if (err < 0) return fail_set(f, err, "the founding members: id or address missing, or twice");
                c = next;
        }
        err = conf_voters(&c) > 0 ? 0 : fail_set(f, E_INVALID, "no voter among the founding members");
        if (err == 0) conf_encode(&c, out);
        raft_configuration_close(&c);
        return err;
}

int driver_found(struct store *store, const struct driver_founder *founders, uint32_t n,
        struct blob first_writeset, void (*turn)(void *arg), void *arg, struct fail *f)
{
        struct arena a = { 0 };
        struct store_start start = { 0 };
        struct buf conf = { 0 };
        struct founding state = { 0 };
        struct log_entry entries[2];
        struct store_job job = { .set_vote = true,
                .term = 1,
                .entries = entries,
                .entries_n = 1,
                .done_cb = founded,
                .data = &state };
        int err;

        conf_heap_init();
        err = store->ops->load(store, &a, &start, f);
        if (err == 0 && (start.term || start.entries_n || start.snapshot.index))
                err = fail_set(f, E_EXISTS, "there is a member here already");
        arena_done(&a);
        if (err == 0) err = make_conf(founders, n, &conf, f);
        if (err == 0) {
                entries[0] = (struct log_entry){ 1, 1, LOG_CHANGE, buf_blob(&conf) };
                entries[1] = (struct log_entry){ 2, 1, LOG_COMMAND, first_writeset };
                if (first_writeset.n) job.entries_n = 2;
                store->ops->submit(store, &job);
                while (!state.done) turn(arg);
                err = state.err < 0 ? fail_set(f, state.err, "the store failed: %s", err_text(state.err)) : 0;
        }
        buf_done(&conf);
        return err;
}
