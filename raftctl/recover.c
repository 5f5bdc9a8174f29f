/* Recovering from a lost majority, see recover.h. */
#include "raftctl/recover.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raftctl/conf.h"
#include "raftctl/member_int.h"
#include "raftctl/store_lmdb.h"
#include "state/table.h"
#include "wire/net/kinds.h"

enum { IDENTITY_ARENA = 1 << 20, TABLE_ARENA = 8 << 20 };

/* A stopped member's store, open for writing. */
struct opened {
        uv_loop_t loop;
        struct store *store;
        struct arena arena;
        struct store_start start;
};

static void on_closed(void *arg) { *(bool *)arg = true; }

static void close_store(struct opened *o)
{
        bool closed = o->store == NULL;
        if (o->store != NULL) o->store->ops->close(o->store, on_closed, &closed);
        while (!closed) (void)uv_run(&o->loop, UV_RUN_ONCE);
        (void)uv_run(&o->loop, UV_RUN_DEFAULT);
        (void)uv_loop_close(&o->loop);
        arena_done(&o->arena);
}

static int open_store(struct opened *o, const char *dir, struct fail *f)
{
        char *path = xasprintf("%s/" MEMBER_STORE_DIR, dir);
        *o = (struct opened){ .arena = { .limit_bytes = (size_t)1 << 40 } };
        int err = uv_loop_init(&o->loop);
        assert(err == 0);
        err = store_lmdb_open(&o->loop, &(struct store_lmdb_config){ .dir = path }, &o->store, f);
        if (err == 0) err = o->store->ops->load(o->store, &o->arena, &o->start, f);
        if (err != 0) close_store(o);
        free(path);
        return err;
}

/* ---- looking ---- */

struct first_finding {
        char text[160];
};

static void on_finding(void *arg, const char *text)
{
        struct first_finding *x = arg;
        if (x->text[0] == '\0') (void)snprintf(x->text, sizeof x->text, "%s", text);
}

static int check_sound(const char *store_dir, struct fail *f)
{
        struct first_finding x = { 0 };
        int found = store_lmdb_check(store_dir, on_finding, &x, NULL);
        if (found == 0) return 0;
        if (found == E_BUSY)
                return fail_set(f, E_BUSY, "%s is in use: stop outrigger-controller on this machine first",
                        store_dir);
        if (found < 0) return fail_set(f, found, "%s: %s", store_dir, err_text(found));
        return fail_set(f, E_CORRUPT,
                "%s; recover from another survivor ('raftctl check DIR...' compares them), or restore a "
                "backup",
                x.text);
}

static int load_identity(const char *dir, struct recover_view *v, struct fail *f)
{
        struct arena a;
        struct member_identity id = { 0 };
        struct pki_dir pki;
        arena_init(&a, IDENTITY_ARENA);
        int err = pki_dir_load(dir, &pki, f);
        if (err == E_NOT_FOUND) (void)fail_set(f, err, "%s: there is no member of a cluster here", dir);
        if (err == 0 && pki.ca_key.n == 0)
                err = fail_set(f, E_UNSUPPORTED,
                        "%s is that of a witness: it has no state to go on from; recover on a controller",
                        dir);
        pki_dir_done(&pki);
        if (err == 0) err = identity_load(dir, &a, &id, f);
        if (err == 0) {
                (void)snprintf(v->cluster, sizeof v->cluster, "%s", id.cluster);
                (void)snprintf(v->name, sizeof v->name, "%s", id.name);
                (void)snprintf(v->address, sizeof v->address, "%s", id.address);
                v->raft_id = id.raft_id;
        }
        arena_done(&a);
        return err;
}

static void name_members(struct recover_view *v, struct tx *tx)
{
        struct arena a;
        struct row_scan s;
        struct member m = { 0 };
        arena_init(&a, TABLE_ARENA);
        row_scan_open(&s, tx, &member_type, &m, 0);
        while (row_scan_next(&s, &a, &m))
                for (unsigned i = 0; i < v->members_n; i++)
                        if (v->members[i].raft_id == m.raft_id)
                                (void)snprintf(v->members[i].name, sizeof v->members[i].name, "%s", m.name);
        row_scan_close(&s);
        arena_done(&a);
}

static void take_conf(struct recover_view *v, const struct raft_configuration *c)
{
        for (unsigned i = 0; i < c->n && v->members_n < RECOVER_MEMBERS_MAX; i++) {
                struct recover_member *m = &v->members[v->members_n++];
                m->raft_id = c->servers[i].id;
                m->self = m->raft_id == v->raft_id;
                m->voter = conf_role_from_core(c->servers[i].role) == MEMBER_VOTER;
                v->self_voter |= m->self && m->voter;
                v->other_voters += !m->self && m->voter;
                (void)snprintf(m->address, sizeof m->address, "%s", c->servers[i].address);
                (void)snprintf(m->name, sizeof m->name, "%016llx", (unsigned long long)m->raft_id);
        }
}

static int look_inside(struct opened *o, struct recover_view *v, struct fail *f)
{
        const struct store_start *s = &o->start;
        struct blob conf = s->snapshot.conf;
        struct raft_configuration c;
        struct tx *tx;
        v->last_index = s->snapshot.index;
        v->last_term = s->snapshot.term;
        v->applied_index = s->applied.index;
        v->term = s->term;
        for (uint64_t i = 0; i < s->entries_n; i++) {
                v->last_index = s->entries[i].index;
                v->last_term = s->entries[i].term;
                if (s->entries[i].type == LOG_CHANGE && s->entries[i].index > s->snapshot.conf_index)
                        conf = s->entries[i].data;
        }
        conf_heap_init();
        if (v->last_index == 0 || s->applied.index == 0 || conf_decode(conf, &c) != 0)
                return fail_set(f, E_NOT_FOUND,
                        "this member never got the cluster's state: there is nothing to recover from");
        take_conf(v, &c);
        raft_configuration_close(&c);
        int err = o->store->ops->read_begin(o->store, &tx);
        if (err != 0) return fail_set(f, err, "%s", err_text(err));
        name_members(v, tx);
        o->store->ops->read_end(o->store, tx);
        return 0;
}

int member_recover_look(const char *dir, struct recover_view *ret, struct fail *f)
{
        struct opened o;
        struct stat st;
        char *store_dir = xasprintf("%s/" MEMBER_STORE_DIR, dir), *seq = xasprintf("%s/seq", store_dir);
        *ret = (struct recover_view){ 0 };
        if (stat(seq, &st) == 0) ret->written_ms = (int64_t)st.st_mtim.tv_sec * 1000;
        int err = load_identity(dir, ret, f);
        if (err == 0) err = check_sound(store_dir, f);
        if (err == 0) err = open_store(&o, dir, f);
        if (err == 0) {
                err = look_inside(&o, ret, f);
                close_store(&o);
        }
        free(store_dir);
        free(seq);
        return err;
}

/* ---- doing ---- */

int member_recover(const char *dir, const struct recover_view *view, uint64_t above_term, uint64_t *ret_index,
        uint64_t *ret_term, struct fail *f)
{
        struct opened o;
        struct takeover t = { .kind = "recovered",
                .name = view->name,
                .address = view->address,
                .raft_id = view->raft_id,
                .above_term = above_term,
                .now_ms = (int64_t)env_real()->wall_ms(env_real()) };
        int err = open_store(&o, dir, f);
        if (err != 0) return err;
        err = takeover_commit(o.store, &o.start, &t, ret_index, ret_term, f);
        close_store(&o);
        return err;
}

bool recover_answers(const char *address, unsigned timeout_ms)
{
        struct sockaddr_storage a;
        int result = -1;
        socklen_t n = sizeof result;
        if (conn_parse_address(address, RAFT_PORT, &a) != 0) return false;
        int fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) return false;
        socklen_t size = a.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
        bool yes = connect(fd, (struct sockaddr *)&a, size) == 0;
        if (!yes && errno == EINPROGRESS) {
                struct pollfd p = { .fd = fd, .events = POLLOUT };
                yes = poll(&p, 1, (int)timeout_ms) == 1 &&
                      getsockopt(fd, SOL_SOCKET, SO_ERROR, &result, &n) == 0 && result == 0;
        }
        (void)close(fd);
        return yes;
}
