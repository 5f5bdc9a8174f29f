/* Real members over real TLS on loopback addresses, all on one loop; raftctl's questions and joins come from
 * a thread. */
#include <ftw.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "raftctl/admin.h"
#include "raftctl/member_int.h"
#include "state/table.h"
#include "tests/unit/net_help.h"
#include "wire/codec/codec.h"
#include "wire/net/join_client.h"

enum { MEMBERS = 3, WAIT_MS = 15000, FIRST_PORT = 12000, PORTS = 20000 };

static char top[] = "/tmp/test_member.XXXXXX";
static uv_loop_t loop;
static struct place {
        char dir[64], run[80], name[8], address[32];
        struct local_member *m;
        bool closed, fatal;
        char why[256];
        unsigned joined;
} at[4];

static int evaluate(void *arg, struct tx *tx, struct blob request, uint64_t index, struct buf *ret_reply)
{
        struct arena a = { 0 };
        struct request r = { 0 };
        struct kvs row = { 0 };
        assert_int_equal(dec_msgpack(&request_type, request, DEC_TOLERANT, &a, &r, NULL), 0);
        SET(&row, kvs, name, r.path);
        int err = row_put(tx, &kvs_type, &row);
        buf_put_str(ret_reply, "done");
        arena_done(&a);
        return err;
}

static void on_fatal(void *arg, int err, const char *why)
{
        struct place *p = arg;
        p->fatal = true;
        (void)snprintf(p->why, sizeof p->why, "%s", why);
}

static void on_joined(void *arg, const struct join_op *op) { ((struct place *)arg)->joined++; }

static const struct member_hooks hooks = {
        .evaluate = evaluate, .on_fatal = on_fatal, .on_joined = on_joined
};

static void on_closed(void *arg) { ((struct place *)arg)->closed = true; }

static int start(struct place *p, struct fail *f)
{
        struct member_config c = {
                .dir = p->dir, .run_dir = p->run, .hooks = &hooks, .arg = p, .election_ms = 300
        };
        p->closed = p->fatal = false;
        return member_open(&loop, &c, &p->m, f);
}

static void must_start(struct place *p)
{
        struct fail f = { 0 };
        if (start(p, &f) != 0) fail_msg("%s: %s", p->name, f.text);
}

static void stop(struct place *p)
{
        if (p->m == NULL) return;
        member_close(p->m, on_closed, p);
        p->m = NULL;
        run_until(&loop, &p->closed, WAIT_MS);
}

/* ---- things that block, on a thread ---- */

struct job {
        void (*run)(struct job *j);
        struct place *p;
        struct admin_request q;
        struct admin_reply r;
        struct arena a;
        struct fail f;
        const char *token;
        enum cert_role role;
        int err;
        bool done;
        pthread_t thread;
};

static void *job_main(void *arg)
{
        struct job *j = arg;
        j->run(j);
        __atomic_store_n(&j->done, true, __ATOMIC_SEQ_CST);
        return NULL;
}

static int job_wait(struct job *j)
{
        assert_int_equal(pthread_create(&j->thread, NULL, job_main, j), 0);
        RUN_WHILE(&loop, !__atomic_load_n(&j->done, __ATOMIC_SEQ_CST));
        pthread_join(j->thread, NULL);
        return j->err;
}

static void run_ask(struct job *j) { j->err = admin_ask(j->p->run, &j->q, 20000, &j->a, &j->r, &j->f); }

/* The reply's error, or that of asking. */
static int ask(struct job *j, struct place *p, enum admin_verb verb, const char *name)
{
        *j = (struct job){ .run = run_ask, .p = p };
        SET(&j->q, admin_request, verb, verb);
        if (name != NULL) SET(&j->q, admin_request, name, name);
        int err = job_wait(j);
        return err != 0 ? err : (int)j->r.err;
}

static char *make_token(struct place *p, enum cert_role role, const char *name, int64_t ttl_ms)
{
        struct job j = { .run = run_ask, .p = p };
        SET(&j.q, admin_request, verb, admin_verb_TOKEN_CREATE);
        SET(&j.q, admin_request, role, role);
        if (name != NULL) SET(&j.q, admin_request, name, name);
        if (ttl_ms != 0) SET(&j.q, admin_request, ttl_ms, ttl_ms);
        if (job_wait(&j) != 0 || j.r.err != 0)
                fail_msg("token: %s%s", j.f.text, j.r.text != NULL ? j.r.text : "");
        char *t = xstrdup(j.r.token);
        arena_done(&j.a);
        return t;
}

static void run_join(struct job *j)
{
        struct member_joining c = { .dir = j->p->dir,
                .token = j->token,
                .name = j->p->name,
                .address = j->p->address,
                .timeout_ms = 10000 };
        j->err = member_join(&c, &j->f);
}

static int join(struct place *p, const char *token, struct fail *f)
{
        struct job j = { .run = run_join, .p = p, .token = token };
        int err = job_wait(&j);
        *f = j.f;
        return err;
}

static void run_join_satellite(struct job *j)
{
        struct join_config c = {
                .token = j->token, .dir = j->p->dir, .name = j->p->name, .role = j->role, .timeout_ms = 10000
        };
        j->err = join_run(&c, &j->a, NULL, &j->f);
}

/* ---- looking ---- */

static unsigned voters(struct place *p)
{
        struct driver_status s;
        unsigned n = 0;
        driver_status(member_driver(p->m), &s);
        for (uint32_t i = 0; i < s.members_n; i++) n += s.members[i].role == MEMBER_VOTER;
        return n;
}

static struct place *leader(void)
{
        for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
                struct driver_status s;
                if (at[i].m == NULL) continue;
                driver_status(member_driver(at[i].m), &s);
                if (s.state == DRIVER_LEADER && s.has_quorum) return &at[i];
        }
        return NULL;
}

static void explain(void)
{
        for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
                struct driver_status s;
                if (at[i].m == NULL) continue;
                driver_status(member_driver(at[i].m), &s);
                print_error("%s: state %d term %llu leader %016llx last %llu commit %llu fatal %d %s\n",
                        at[i].name, (int)s.state, (unsigned long long)s.term, (unsigned long long)s.leader_id,
                        (unsigned long long)s.last_index, (unsigned long long)s.commit_index, at[i].fatal,
                        at[i].why);
                for (uint32_t k = 0; k < s.members_n; k++) {
                        struct transport_peer p;
                        transport_peer_info(member_transport(at[i].m), s.members[k].id, &p);
                        print_error("   %016llx %s role %d up %d driver-up %d: %s\n",
                                (unsigned long long)s.members[k].id, s.members[k].address,
                                (int)s.members[k].role, p.up, s.members[k].link_up, p.trouble);
                }
        }
}

static struct place *wait_leader(void)
{
        RUN_WHILE(&loop, leader() == NULL);
        if (leader() == NULL) {
                explain();
                fail_msg("no leader");
        }
        return leader();
}

static void wait_voters(struct place *p, unsigned n)
{
        RUN_WHILE(&loop, voters(p) != n);
        assert_int_equal(voters(p), n);
}

struct write {
        bool done;
        int err;
};
static void on_written(void *arg, int err, uint64_t index, uint64_t term, struct blob reply)
{
        struct write *w = arg;
        w->done = true;
        w->err = err;
}

static int put(struct place *p, const char *path)
{
        static uint8_t counter;
        struct request r = { 0 };
        struct buf b = { 0 };
        struct write w = { 0 };
        uint8_t id[REQUEST_ID_SIZE] = { 7, ++counter };
        SET(&r, request, method, "PUT");
        SET(&r, request, path, path);
        SET(&r, request, wall_ms, 1);
        SET(&r, request, seed, 1);
        assert_int_equal(enc_msgpack(&request_type, &r, &b), 0);
        driver_submit(
                member_driver(p->m), id, buf_blob(&b), env_real()->now_ms(env_real()) + 8000, on_written, &w);
        buf_done(&b);
        run_until(&loop, &w.done, WAIT_MS);
        return w.err;
}

static bool has(struct place *p, const char *path)
{
        struct tx *tx;
        struct kvs key = { .name = path };
        struct store *s = member_store(p->m);
        assert_int_equal(s->ops->read_begin(s, &tx), 0);
        bool yes = row_exists(tx, &kvs_type, &key);
        s->ops->read_end(s, tx);
        return yes;
}

static void wait_has(struct place *p, const char *path)
{
        RUN_WHILE(&loop, !has(p, path));
        assert_true(has(p, path));
}

/* ---- tests, in order: each goes on from the one before ---- */

static void test_found(void **state)
{
        struct fail f = { 0 };
        struct job j;
        struct member_founding c = { .dir = at[0].dir, .name = at[0].name, .address = at[0].address };
        assert_int_equal(start(&at[0], &f), E_NOT_FOUND);
        assert_non_null(strstr(f.text, "raftctl init"));
        stop(&at[0]);
        if (member_found(&c, &f) != 0) fail_msg("%s", f.text);
        assert_int_equal(member_found(&c, &f), E_EXISTS);
        must_start(&at[0]);
        wait_voters(&at[0], 1);
        assert_ptr_equal(wait_leader(), &at[0]);
        assert_int_equal(put(&at[0], "/one"), 0);
        assert_int_equal(ask(&j, &at[0], admin_verb_STATUS, NULL), 0);
        assert_int_equal(j.r.status->members_n, 1);
        assert_string_equal(j.r.status->leader, "a");
        assert_string_equal(j.r.status->members[0].role, "voter");
        assert_true(j.r.status->has_quorum);
        assert_int_equal(j.r.status->warnings_n, 1);
        arena_done(&j.a);
        assert_int_equal(ask(&j, &at[0], admin_verb_REMOVE, "a"), E_INVALID); /* the last one */
        arena_done(&j.a);
}

static void test_tokens(void **state)
{
        struct fail f = { 0 };
        char *t = make_token(&at[0], cert_role_CONTROLLER, "somebody", 0);
        assert_int_equal(join(&at[1], t, &f), E_INVALID);
        assert_non_null(strstr(f.text, "somebody"));
        free(t);
        t = make_token(&at[0], cert_role_CONTROLLER, NULL, 1000);
        run_for(&loop, 1100); /* beyond the token's second */
        assert_int_equal(join(&at[1], t, &f), E_AUTH);
        assert_non_null(strstr(f.text, "expired"));
        assert_non_null(strstr(f.text, "raftctl token create"));
        free(t);
        t = make_token(&at[0], cert_role_CONTROLLER, NULL, 0);
        t[strlen(t) / 2] ^= 1; /* whichever field this hits, it is refused */
        assert_int_not_equal(join(&at[1], t, &f), 0);
        free(t);
        assert_int_not_equal(join(&at[1], "no token at all", &f), 0);
}

static void test_grow(void **state)
{
        struct fail f = { 0 };
        for (unsigned i = 1; i < MEMBERS; i++) {
                char *t = make_token(&at[0], cert_role_CONTROLLER, NULL, 0);
                if (join(&at[i], t, &f) != 0) fail_msg("%s", f.text);
                must_start(&at[i]);
                wait_voters(&at[0], i + 1);
                wait_has(&at[i], "/one");
                /* a used token is of no use to others */
                assert_int_equal(join(&at[3], t, &f), E_AUTH);
                assert_non_null(strstr(f.text, "was used by"));
                free(t);
        }
        wait_voters(&at[2], 3);
        assert_int_equal(at[0].joined, 2);
        assert_int_equal(put(&at[1], "/via-b"), 0); /* forwarded, whoever leads */
        assert_int_equal(put(&at[2], "/via-c"), 0);
        for (unsigned i = 0; i < MEMBERS; i++) wait_has(&at[i], "/via-c");
}

static void test_restart(void **state)
{
        struct place *l = wait_leader();
        stop(l);
        struct place *next = wait_leader(); /* the others go on */
        assert_ptr_not_equal(next, l);
        assert_int_equal(put(next, "/without"), 0);
        must_start(l);
        wait_has(l, "/without");
}

static void test_transfer(void **state)
{
        struct place *l = wait_leader(), *to = l == &at[0] ? &at[1] : &at[0];
        struct job j;
        struct transport_peer info = { 0 };
        RUN_WHILE(&loop, (transport_peer_info(member_transport(l->m), member_identity(to->m)->raft_id, &info),
                                 !info.up));
        int err = ask(&j, l, admin_verb_TRANSFER, to->name);
        if (err != 0) fail_msg("%s", j.r.text != NULL ? j.r.text : j.f.text);
        arena_done(&j.a);
        RUN_WHILE(&loop, leader() != to);
        assert_ptr_equal(wait_leader(), to);
        struct place *follower = to == &at[0] ? &at[1] : &at[0]; /* any member can be asked */
        assert_int_equal(ask(&j, follower, admin_verb_TRANSFER, "nobody"), E_NOT_FOUND);
        arena_done(&j.a);
        assert_int_equal(ask(&j, follower, admin_verb_TRANSFER, follower->name), 0);
        arena_done(&j.a);
        RUN_WHILE(&loop, leader() != follower);
        assert_ptr_equal(wait_leader(), follower);
}

static void test_demote_promote(void **state)
{
        struct job j;
        struct place *l = wait_leader(), *x = l == &at[2] ? &at[1] : &at[2];
        assert_int_equal(ask(&j, l, admin_verb_DEMOTE, x->name), 0);
        arena_done(&j.a);
        wait_voters(l, 2);
        assert_int_equal(ask(&j, x, admin_verb_PROMOTE, x->name), 0); /* any member can be asked */
        arena_done(&j.a);
        wait_voters(l, 3);
}

static void test_satellite_joins(void **state)
{
        char *t = make_token(wait_leader(), cert_role_SATELLITE, NULL, 0);
        struct place sat = { .name = "sat1" };
        struct pki_dir d;
        struct pki_identity id;
        struct fail f = { 0 };
        (void)snprintf(sat.dir, sizeof sat.dir, "%s/sat", top);
        struct job j = { .run = run_join_satellite, .p = &sat, .token = t, .role = cert_role_CONTROLLER };
        assert_int_equal(job_wait(&j), E_INVALID); /* not a controller's */
        arena_done(&j.a);
        j = (struct job){ .run = run_join_satellite, .p = &sat, .token = t, .role = cert_role_SATELLITE };
        if (job_wait(&j) != 0) fail_msg("%s", j.f.text);
        arena_done(&j.a);
        assert_int_equal(pki_dir_load(sat.dir, &d, &f), 0);
        assert_int_equal(d.ca_key.n, 0); /* a satellite must not get it */
        assert_int_equal(pki_identity(&d.cert, &id, &f), 0);
        assert_int_equal(id.role, PKI_SATELLITE);
        assert_string_equal(id.name, "sat1");
        pki_dir_done(&d);
        /* what a loss of power can leave, where the file system does not keep its promises */
        char path[PATH_MAX + 20];
        (void)snprintf(path, sizeof path, "%s/pki/node.crt", sat.dir);
        assert_int_equal(truncate(path, 0), 0);
        assert_int_equal(pki_dir_load(sat.dir, &d, &f), E_FORMAT);
        assert_non_null(strstr(f.text, "sat/pki is damaged (restore it, or join once more"));
        free(t);
}

static void test_client_cert(void **state)
{
        struct pem key = { 0 }, csr = { 0 }, cert = { 0 };
        struct fail f = { 0 };
        struct pki_identity id;
        assert_int_equal(pki_make_key(&key, &f), 0);
        assert_int_equal(pki_make_csr(&key, "bob", &csr, &f), 0);
        struct job j = { .run = run_ask, .p = &at[0] };
        SET(&j.q, admin_request, verb, admin_verb_CLIENT_CERT);
        SET(&j.q, admin_request, name, "bob");
        SET(&j.q, admin_request, csr, csr.text);
        assert_int_equal(job_wait(&j), 0);
        assert_int_equal(j.r.err, 0);
        assert_int_equal(pem_set(&cert, BLOB(j.r.cert, strlen(j.r.cert))), 0);
        assert_int_equal(pki_identity(&cert, &id, &f), 0);
        assert_int_equal(id.role, PKI_CLIENT);
        assert_int_equal(pki_check(&at[0].m->pki.ca, &cert, &key, &f), 0);
        arena_done(&j.a);
        pem_done(&key);
        pem_done(&csr);
        pem_done(&cert);
}

static int rm_one(const char *path, const struct stat *st, int flag, struct FTW *w) { return remove(path); }
static void rm_tree(const char *path) { (void)nftw(path, rm_one, 16, FTW_DEPTH | FTW_PHYS); }

/* It does not tell a member to found a cluster because its certificates were deleted. */
static void test_no_certificates(void **state)
{
        struct fail f = { 0 };
        char pki[128], aside[160], identity[128], keep[160];
        struct place *x = wait_leader() == &at[2] ? &at[1] : &at[2];
        stop(x);
        (void)snprintf(pki, sizeof pki, "%s/pki", x->dir);
        (void)snprintf(aside, sizeof aside, "%s.aside", pki);
        (void)snprintf(identity, sizeof identity, "%s/identity", x->dir);
        (void)snprintf(keep, sizeof keep, "%s.keep", identity);
        assert_int_equal(rename(pki, aside), 0);
        assert_int_equal(start(x, &f), E_NOT_FOUND);
        assert_null(strstr(f.text, "raftctl init"));
        assert_non_null(strstr(f.text, "put a copy of it back"));
        assert_non_null(strstr(f.text, "--replaces"));
        stop(x);
        assert_int_equal(rename(identity, keep), 0); /* only the store is left */
        assert_int_equal(start(x, &f), E_NOT_FOUND);
        assert_null(strstr(f.text, "raftctl init"));
        stop(x);
        assert_int_equal(rename(keep, identity), 0);
        assert_int_equal(rename(aside, pki), 0);
        must_start(x);
        assert_int_equal(put(x, "/certified"), 0);
}

static void test_amnesia(void **state)
{
        struct fail f = { 0 };
        char path[128], aside[160];
        struct place *l = wait_leader(), *x = l == &at[2] ? &at[1] : &at[2];
        stop(x);
        (void)snprintf(path, sizeof path, "%s/" MEMBER_STORE_DIR, x->dir);
        (void)snprintf(aside, sizeof aside, "%s.aside", path);
        assert_int_equal(rename(path, aside), 0);
        assert_int_equal(start(x, &f), E_STALE);
        assert_non_null(strstr(f.text, "--replaces"));
        stop(x);
        /* pieces of two members must not be mixed either */
        (void)snprintf(path, sizeof path, "%s/identity", x->dir);
        char other[128], keep[160];
        (void)snprintf(other, sizeof other, "%s/identity", l->dir);
        (void)snprintf(keep, sizeof keep, "%s.keep", path);
        assert_int_equal(rename(path, keep), 0);
        assert_int_equal(link(other, path), 0);
        assert_int_equal(start(x, &f), E_AUTH);
        stop(x);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rename(keep, path), 0);
        (void)snprintf(path, sizeof path, "%s/" MEMBER_STORE_DIR, x->dir);
        assert_int_equal(rename(aside, path), 0);
        must_start(x);
        assert_int_equal(put(x, "/back"), 0);
}

static void test_remove_and_join_anew(void **state)
{
        struct job j;
        struct fail f = { 0 };
        struct place *l = wait_leader(), *x = l == &at[2] ? &at[1] : &at[2];
        char *t = make_token(l, cert_role_CONTROLLER, NULL, 0);
        stop(x);
        rm_tree(x->dir);
        assert_int_equal(join(x, t, &f), E_EXISTS); /* the name is taken as long as the old one is a member */
        assert_non_null(strstr(f.text, "--replaces"));
        assert_int_equal(ask(&j, l, admin_verb_REMOVE, x->name), 0);
        arena_done(&j.a);
        wait_voters(l, 2);
        if (join(x, t, &f) != 0) fail_msg("%s", f.text);
        free(t);
        must_start(x);
        wait_voters(l, 3);
        assert_int_equal(put(x, "/new"), 0);
}

static void run_rejoin(struct job *j)
{
        struct member_rejoining c = { .dir = j->p->dir, .timeout_ms = 10000 };
        j->err = member_rejoin(&c, &j->f);
}

static int rejoin(struct place *p, struct fail *f)
{
        struct job j = { .run = run_rejoin, .p = p };
        int err = job_wait(&j);
        *f = j.f;
        return err;
}

static uint64_t voter_of(struct place *p, struct place *who)
{
        struct driver_status s;
        driver_status(member_driver(p->m), &s);
        for (uint32_t i = 0; i < s.members_n; i++)
                if (strcmp(s.members[i].address, who->address) == 0 && s.members[i].role == MEMBER_VOTER)
                        return s.members[i].id;
        return 0;
}

/* The store is gone, the certificate is there: back under a new id, and the old one is refused for ever. */
static void test_rejoin(void **state)
{
        struct fail f = { 0 };
        char path[128], aside[160];
        struct place *l = wait_leader(), *x = l == &at[2] ? &at[1] : &at[2];
        uint64_t old = member_identity(x->m)->raft_id;
        assert_int_equal(rejoin(x, &f), E_BUSY); /* it runs */
        stop(x);
        (void)snprintf(path, sizeof path, "%s/identity", x->dir);
        (void)snprintf(aside, sizeof aside, "%s.old", path);
        assert_int_equal(link(path, aside), 0);
        if (rejoin(x, &f) != 0) fail_msg("%s", f.text);
        must_start(x);
        uint64_t id = member_identity(x->m)->raft_id;
        assert_int_not_equal(id, old);
        RUN_WHILE(&loop, voter_of(l, x) != id);
        assert_int_equal(voter_of(l, x), id);
        assert_int_equal(voters(l), 3);
        wait_has(x, "/via-c"); /* what was there before */
        assert_int_equal(put(x, "/again"), 0);
        /* the former identity with the former store */
        stop(x);
        assert_int_equal(rename(aside, path), 0);
        char store[128], was[192];
        (void)snprintf(store, sizeof store, "%s/" MEMBER_STORE_DIR, x->dir);
        (void)snprintf(aside, sizeof aside, "%s.new", store);
        (void)snprintf(was, sizeof was, "%s.%016llx.0", store, (unsigned long long)old);
        assert_int_equal(rename(store, aside), 0);
        assert_int_equal(rename(was, store), 0);
        must_start(x);
        struct transport_peer info = { 0 };
        RUN_WHILE(&loop, (transport_peer_info(member_transport(x->m), member_identity(l->m)->raft_id, &info),
                                 strstr(info.trouble, "was removed") == NULL));
        assert_non_null(strstr(info.trouble, "was removed"));
        assert_false(info.up);
        assert_int_equal(put(l, "/without-the-old-one"), 0);
        stop(x);
        if (rejoin(x, &f) != 0) fail_msg("%s", f.text);
        must_start(x);
        id = member_identity(x->m)->raft_id;
        RUN_WHILE(&loop, voter_of(l, x) != id);
        assert_int_equal(voter_of(l, x), id);
        wait_has(x, "/without-the-old-one");
}

static void test_removed_does_not_rejoin(void **state)
{
        struct job j;
        struct fail f = { 0 };
        struct place *l = wait_leader(), *x = l == &at[2] ? &at[1] : &at[2];
        stop(x);
        assert_int_equal(ask(&j, l, admin_verb_REMOVE, x->name), 0);
        arena_done(&j.a);
        wait_voters(l, 2);
        assert_int_equal(rejoin(x, &f), E_AUTH);
        assert_non_null(strstr(f.text, "join with a token"));
        char *t = make_token(
                l, cert_role_CONTROLLER, NULL, 0); /* the name is free, and not for the old certificate */
        struct place y = *x;
        (void)snprintf(y.dir, sizeof y.dir, "%s/y", top);
        if (join(&y, t, &f) != 0) fail_msg("%s", f.text);
        free(t);
        assert_int_equal(rejoin(x, &f), E_AUTH);
        rm_tree(x->dir);
        assert_int_equal(rename(y.dir, x->dir), 0);
        must_start(x);
        wait_voters(l, 3);
}

static int ask_replacing(struct job *j, struct place *p, const char *name, bool force)
{
        *j = (struct job){ .run = run_ask, .p = p };
        SET(&j->q, admin_request, verb, admin_verb_TOKEN_CREATE);
        SET(&j->q, admin_request, replaces, name);
        if (force) SET(&j->q, admin_request, force, true);
        int err = job_wait(j);
        return err != 0 ? err : (int)j->r.err;
}

/* One command on a member, one on the new machine. What would lose the quorum is refused by whoever leads,
 * whichever member is asked. */
static void test_replace(void **state)
{
        struct job j;
        struct fail f = { 0 };
        struct place *l = wait_leader(), *x = l == &at[2] ? &at[1] : &at[2], *third = NULL;
        for (unsigned i = 0; i < MEMBERS; i++)
                if (&at[i] != l && &at[i] != x) third = &at[i];
        assert_int_equal(ask_replacing(&j, third, x->name, false), E_EXISTS);
        assert_non_null(strstr(j.r.text, "it is not dead"));
        arena_done(&j.a);
        uint64_t gone = member_identity(x->m)->raft_id;
        struct transport_peer info;
        stop(x);
        rm_tree(x->dir);
        RUN_WHILE(&loop, (transport_peer_info(member_transport(l->m), gone, &info),
                                 info.up)); /* who leads has seen it */
        assert_int_equal(ask(&j, third, admin_verb_DEMOTE, third->name), E_NO_QUORUM);
        assert_non_null(strstr(j.r.text, "only 1 of 2 voters would answer"));
        assert_non_null(strstr(j.r.text, x->name));
        assert_non_null(strstr(j.r.remedy, "--force"));
        arena_done(&j.a);
        assert_int_equal(ask(&j, l, admin_verb_REMOVE, third->name), E_NO_QUORUM);
        arena_done(&j.a);
        assert_int_equal(voters(l), 3);
        assert_int_equal(ask_replacing(&j, third, x->name, false), 0);
        char *t = xstrdup(j.r.token);
        arena_done(&j.a);
        if (join(x, t, &f) != 0) fail_msg("%s", f.text);
        free(t);
        wait_voters(l, 2); /* the dead one goes first */
        must_start(x);
        wait_voters(l, 3);
        assert_int_equal(put(x, "/replaced"), 0);
        assert_int_equal(ask(&j, l, admin_verb_STATUS, NULL), 0);
        assert_int_equal(j.r.status->members_n, 3);
        arena_done(&j.a);
}

static void test_close_early(void **state)
{
        struct place *x = wait_leader() == &at[2] ? &at[1] : &at[2];
        for (unsigned turns = 0; turns < 8; turns++) {
                stop(x);
                must_start(x);
                for (unsigned i = 0; i < turns; i++) uv_run(&loop, UV_RUN_NOWAIT);
        }
}

/* One that nobody has, below those that the kernel gives to connections (ip_local_port_range): a connection of
 * another test must not take it between here and the listening, nor while a member is down. */
static unsigned free_port(void)
{
        for (unsigned i = 0; i < PORTS; i++) {
                unsigned port = FIRST_PORT + ((unsigned)getpid() + i) % PORTS;
                struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
                int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                bool is_free = fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0;
                if (fd >= 0) close(fd);
                if (is_free) return port;
        }
        fail_msg("no port is free from %d on", FIRST_PORT);
        return 0;
}

static int setup(void **state)
{
        assert_non_null(mkdtemp(top));
        assert_int_equal(uv_loop_init(&loop), 0);
        unsigned port = free_port();
        for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
                (void)snprintf(at[i].name, sizeof at[i].name, "%c", 'a' + (char)i);
                (void)snprintf(at[i].dir, sizeof at[i].dir, "%s/%s", top, at[i].name);
                (void)snprintf(at[i].run, sizeof at[i].run, "%s/run-%s", top, at[i].name);
                (void)snprintf(at[i].address, sizeof at[i].address, "127.0.0.%u:%u", i + 1, port);
        }
        return 0;
}

static int teardown(void **state)
{
        for (unsigned i = 0; i < ARRAY_LEN(at); i++) stop(&at[i]);
        uv_run(&loop, UV_RUN_DEFAULT);
        int rc = uv_loop_close(&loop);
        rm_tree(top);
        return rc;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_found),
                cmocka_unit_test(test_tokens),
                cmocka_unit_test(test_grow),
                cmocka_unit_test(test_restart),
                cmocka_unit_test(test_transfer),
                cmocka_unit_test(test_demote_promote),
                cmocka_unit_test(test_satellite_joins),
                cmocka_unit_test(test_client_cert),
                cmocka_unit_test(test_no_certificates),
                cmocka_unit_test(test_amnesia),
                cmocka_unit_test(test_remove_and_join_anew),
                cmocka_unit_test(test_rejoin),
                cmocka_unit_test(test_removed_does_not_rejoin),
                cmocka_unit_test(test_replace),
                cmocka_unit_test(test_close_early),
        };
        return cmocka_run_group_tests_name("member", tests, setup, teardown);
}
