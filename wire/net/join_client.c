/* Asking to be let in.
 *
 * For each address of the token, in turn and again until the time is up: connect -> opened(0) -> JOIN ->
 * JOIN_REPLY. Failures: no connection, end, or a reply that says `retry` -> the next address after a pause;
 * any other refusal ends it, and so does a whole round of members with another CA than the token's. */
#include "wire/net/join_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/codec/codec.h"
#include "wire/def/versions.h"
#include "wire/net/conn.h"
#include "wire/net/join_token.h"
#include "wire/net/kinds.h"

enum { TIMEOUT_MS = 30000, PAUSE_MS = 300, ATTEMPT_MS = 8000, REPLY_MAX = 256 << 10, REPLY_ARENA = 1 << 20 };

struct join_ask {
        uv_loop_t *loop;
        uv_timer_t total, step; /* step: pause before, or deadline of an attempt */
        struct conn conn;
        bool conn_open, over;
        unsigned live; /* handles that are not closed */
        struct join_asking asking;
        uint32_t next;      /* address to ask */
        uint32_t strangers; /* how many in a row were not of the cluster */
        struct buf request;
        struct arena arena;
        struct join_reply reply;
        int err; /* 0 = reply is the final one */
        struct fail fault;
        join_ask_fn *cb;
        void *arg;
};

static void attempt(struct join_ask *j);
static void on_step(uv_timer_t *t);

static void settle(struct join_ask *j)
{
        assert(j->live > 0);
        if (--j->live > 0) return;
        j->cb(j->arg, j->err, &j->reply, &j->fault);
        tls_ctx_unref(j->asking.ctx);
        if (j->request.p != NULL) secret_wipe(j->request.p, j->request.n);
        buf_done(&j->request);
        arena_done(&j->arena);
        free(j);
}

static void on_timer_closed(uv_handle_t *h) { settle(h->data); }

static void on_conn_closed(struct conn *c)
{
        struct join_ask *j = c->data;
        j->conn_open = false;
        if (j->over) {
                settle(j);
                return;
        }
        j->live--;
        int rc = uv_timer_start(&j->step, on_step, PAUSE_MS, 0);
        assert(rc == 0);
}

/* Gives this attempt up. */
static void give_up(struct join_ask *j)
{
        if (j->conn_open && !j->conn.closing) conn_close(&j->conn, on_conn_closed);
}

static void finish(struct join_ask *j, int err)
{
        if (j->over) return;
        j->over = true;
        j->err = err;
        give_up(j);
        uv_close((uv_handle_t *)&j->total, on_timer_closed);
        uv_close((uv_handle_t *)&j->step, on_timer_closed);
}

static void on_total(uv_timer_t *t)
{
        struct join_ask *j = t->data;
        if (j->fault.err == 0) (void)fail_set(&j->fault, E_TIMEOUT, "no member of the cluster answered");
        finish(j, j->fault.err);
}

static void on_step(uv_timer_t *t)
{
        struct join_ask *j = t->data;
        if (j->over) return;
        if (!j->conn_open) {
                attempt(j);
                return;
        }
        (void)fail_set(&j->fault, E_TIMEOUT, "the member did not answer in time");
        give_up(j);
}

static void on_opened(struct conn *c, int err)
{
        struct join_ask *j = c->data;
        if (j->over || err == E_CANCELED) return;
        if (err == 0) err = conn_send(c, KIND_JOIN, buf_blob(&j->request));
        if (err == 0) return;
        const char *address = j->asking.addresses[(j->next - 1) % j->asking.addresses_n];
        j->strangers = err == E_AUTH ? j->strangers + 1 : 0;
        if (j->strangers >= j->asking.addresses_n) { /* asking again would not help */
                err = fail_set(
                        &j->fault, err, "%s: %s. %s", address, conn_fault(c)->text, j->asking.stranger);
                finish(j, err);
                return;
        }
        if (conn_fault(c)->err != 0) j->fault = *conn_fault(c);
        else (void)fail_set(&j->fault, err, "%s", err_text(err));
        (void)fail_wrap(&j->fault, "%s", address);
        give_up(j);
}

static void on_frame(struct conn *c, unsigned kind, struct blob payload)
{
        struct join_ask *j = c->data;
        if (j->over || kind != KIND_JOIN_REPLY) return;
        arena_reset(&j->arena);
        j->reply = (struct join_reply){ 0 };
        int err = dec_msgpack(&join_reply_type, payload, DEC_TOLERANT, &j->arena, &j->reply, &j->fault);
        if (err == 0 && j->reply.err == 0) {
                finish(j, 0);
                return;
        }
        if (err == 0) {
                const char *remedy = j->reply.remedy != NULL ? j->reply.remedy : "";
                err = (int)j->reply.err < 0 ? (int)j->reply.err : E_AUTH;
                (void)fail_set(&j->fault, err, "%s%s%s",
                        j->reply.text != NULL ? j->reply.text : err_text(err), remedy[0] != '\0' ? "; " : "",
                        remedy);
        }
        if (j->reply.retry) give_up(j);
        else finish(j, err);
}

static void on_end(struct conn *c, enum conn_end why)
{
        struct join_ask *j = c->data;
        if (j->over) return;
        (void)fail_set(&j->fault, E_CLOSED, "the member hung up: %s", conn_fault(c)->text);
        give_up(j);
}

static const struct conn_ops ops = { .opened = on_opened, .frame = on_frame, .end = on_end };

static void attempt(struct join_ask *j)
{
        struct sockaddr_storage to;
        struct conn_options o;
        const char *address = j->asking.addresses[j->next++ % j->asking.addresses_n];
        int rc = uv_timer_start(&j->step, on_step, ATTEMPT_MS, 0);
        assert(rc == 0);
        if (conn_parse_address(address, RAFT_PORT, &to) != 0) {
                (void)fail_set(&j->fault, E_INVALID, "the address '%s' is not usable", address);
                rc = uv_timer_start(&j->step, on_step, PAUSE_MS, 0);
                assert(rc == 0);
                return;
        }
        conn_options_init(&o);
        o.frame_max_bytes = REPLY_MAX;
        j->conn.data = j;
        j->conn_open = true;
        j->live++;
        if (conn_connect(&j->conn, j->loop, &to, j->asking.ctx, &o, &ops) != 0) give_up(j);
}

struct join_ask *join_ask_open(uv_loop_t *loop, const struct join_asking *asking, join_ask_fn *cb, void *arg)
{
        struct join_ask *j = xnew(struct join_ask);
        int rc = uv_timer_init(loop, &j->total);
        if (rc == 0) rc = uv_timer_init(loop, &j->step);
        assert(rc == 0);
        j->loop = loop;
        j->live = 2;
        j->asking = *asking;
        j->cb = cb;
        j->arg = arg;
        (void)tls_ctx_ref(asking->ctx);
        arena_init(&j->arena, REPLY_ARENA);
        buf_put(&j->request, asking->request.p, asking->request.n);
        j->total.data = j->step.data = j;
        if (asking->timeout_ms != 0) rc = uv_timer_start(&j->total, on_total, asking->timeout_ms, 0);
        assert(rc == 0);
        attempt(j);
        return j;
}

void join_ask_cancel(struct join_ask *j) { finish(j, E_CANCELED); }

const char *join_ask_trouble(const struct join_ask *j) { return j->fault.text; }

static int make_request(const struct join_config *c, const struct join_ticket *t, const struct pem *key,
        struct buf *out, struct fail *f)
{
        struct pem csr = { 0 };
        struct join_request r = { 0 };
        int err = pki_make_csr(key, c->name, &csr, f);
        if (err != 0) return err;
        SET(&r, join_request, token_id, t->id);
        SET(&r, join_request, secret, t->secret);
        SET(&r, join_request, csr, csr.text);
        SET(&r, join_request, name, c->name);
        SET(&r, join_request, role, c->role);
        if (c->address != NULL) SET(&r, join_request, address, c->address);
        if (c->zone != NULL) SET(&r, join_request, zone, c->zone);
        if (c->standby) SET(&r, join_request, standby, true);
        if (c->raft_id != 0) SET(&r, join_request, raft_id, c->raft_id);
        if (c->is_volatile) SET(&r, join_request, is_volatile, true);
        SET(&r, join_request, level_min, LEVEL_MIN);
        SET(&r, join_request, level_max, LEVEL_MAX);
        SET(&r, join_request, software, SOFTWARE_VERSION);
        if (c->sans_n > 0) {
                SET(&r, join_request, sans, (const char **)c->sans);
                r.sans_n = c->sans_n;
        }
        err = enc_msgpack(&join_request_type, &r, out);
        pem_done(&csr);
        return err != 0 ? fail_set(f, err, "%s", err_text(err)) : 0;
}

/* The certificate must be ours in every respect before it replaces anything on disk. */
static int store_result(const struct join_config *c, const struct join_ticket *t, const struct pem *key,
        const struct join_reply *r, struct fail *f)
{
        struct pki_dir d = { 0 };
        struct pki_identity id;
        uint8_t pin[PKI_PIN_SIZE];
        if (r->cert == NULL || r->ca == NULL)
                return fail_set(f, E_PROTOCOL, "the answer holds no certificate");
        int err = pem_set(&d.cert, BLOB(r->cert, strlen(r->cert)));
        if (err == 0) err = pem_set(&d.ca, BLOB(r->ca, strlen(r->ca)));
        if (err == 0) err = pem_set(&d.key, BLOB(key->text, key->n));
        if (err == 0 && r->ca_key != NULL) err = pem_set(&d.ca_key, BLOB(r->ca_key, strlen(r->ca_key)));
        if (err != 0) (void)fail_set(f, err, "%s", err_text(err));
        if (err == 0) err = pki_fingerprint(&d.ca, pin, f);
        if (err == 0 && memcmp(pin, t->pin.p, sizeof pin) != 0)
                err = fail_set(f, E_AUTH, "the answer's CA is not the one that the token names");
        if (err == 0) err = pki_check(&d.ca, &d.cert, &d.key, f);
        if (err == 0) err = pki_identity(&d.cert, &id, f);
        if (err == 0 && (strcmp(id.name, c->name) != 0 || strcmp(id.cluster, t->cluster) != 0 ||
                                (unsigned)id.role != (unsigned)c->role))
                err = fail_set(f, E_AUTH, "the certificate is for somebody else (%s '%s')",
                        pki_role_name(id.role), id.name);
        if (err == 0) err = pki_dir_save(c->dir, &d, f);
        pki_dir_done(&d);
        return err;
}

static int check_config(const struct join_config *c, const struct join_ticket *t, struct fail *f)
{
        _Static_assert((int)cert_role_CONTROLLER == (int)PKI_CONTROLLER &&
                               (int)cert_role_CLIENT == (int)PKI_CLIENT &&
                               (int)cert_role_SATELLITE == (int)PKI_SATELLITE,
                "both enums have the same numbers");
        struct pki_dir d;
        struct fail none = { 0 };
        if (!pki_name_valid(c->name))
                return fail_set(f, E_INVALID,
                        "'%s' is not a valid name: letters, digits, '.', '_' and '-' only", c->name);
        if (t->role != c->role)
                return fail_set(f, E_INVALID,
                        "this token is for a %s, not for a %s: make one with 'raftctl token create --role "
                        "%s'",
                        pki_role_name((enum pki_role)t->role), pki_role_name((enum pki_role)c->role),
                        pki_role_name((enum pki_role)c->role));
        if (t->name != NULL && t->name[0] != '\0' && strcmp(t->name, c->name) != 0)
                return fail_set(
                        f, E_INVALID, "this token is for '%s' only, this machine is '%s'", t->name, c->name);
        int err = pki_dir_load(c->dir, &d, &none);
        if (err == E_NOT_FOUND) return 0;
        if (err != 0) {
                if (f != NULL) *f = none;
                return err;
        }
        pki_dir_done(&d);
        return fail_set(f, E_EXISTS,
                "%s belongs to a cluster already; to make this machine join anew, move that directory away",
                c->dir);
}

struct asked { /* the blocking form's answer */
        struct arena *arena;
        struct join_reply reply;
        int err;
        struct fail fault;
};

/* The reply is borrowed: what is kept of it is copied, in its own encoding. */
static void on_asked(void *arg, int err, const struct join_reply *reply, const struct fail *fault)
{
        struct asked *a = arg;
        struct buf b = { 0 };
        a->err = err;
        a->fault = *fault;
        if (err == 0) a->err = enc_msgpack(&join_reply_type, reply, &b);
        if (a->err == 0)
                a->err = dec_msgpack(
                        &join_reply_type, buf_blob(&b), DEC_TOLERANT, a->arena, &a->reply, &a->fault);
        if (b.p != NULL) secret_wipe(b.p, b.n);
        buf_done(&b);
}

static int ask(const struct join_asking *asking, struct asked *a)
{
        uv_loop_t loop;
        int rc = uv_loop_init(&loop);
        if (rc != 0) return fail_set(&a->fault, rc, "%s", uv_strerror(rc));
        (void)join_ask_open(&loop, asking, on_asked, a);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        rc = uv_loop_close(&loop);
        assert(rc == 0);
        return a->err;
}

int join_ask_blocking(
        const struct join_asking *asking, struct arena *a, struct join_reply *ret, struct fail *f)
{
        struct asked asked = { .arena = a };
        int err = ask(asking, &asked);
        if (err == 0) *ret = asked.reply;
        else if (f != NULL) *f = asked.fault;
        return err;
}

int join_run(const struct join_config *config, struct arena *a, struct join_result *ret, struct fail *f)
{
        struct join_ticket ticket = { 0 };
        struct pem key = { 0 };
        struct buf request = { 0 };
        struct join_reply reply = { 0 };
        struct join_asking asking = { .timeout_ms = config->timeout_ms != 0 ? config->timeout_ms : TIMEOUT_MS,
                .stranger = "The token is damaged, or of another cluster: make a new one with 'raftctl token "
                            "create' on a member" };
        int err = token_decode(config->token, a, &ticket, f);
        if (err == 0) err = check_config(config, &ticket, f);
        if (err == 0) err = pki_dir_key(config->dir, &key, f);
        if (err == 0) err = make_request(config, &ticket, &key, &request, f);
        if (err == 0)
                err = tls_ctx_new(&(struct tls_config){ .pin = ticket.pin.p, .cluster = ticket.cluster },
                        &asking.ctx, f);
        asking.addresses = (const char *const *)ticket.addresses;
        asking.addresses_n = ticket.addresses_n;
        asking.request = buf_blob(&request);
        if (err == 0) err = join_ask_blocking(&asking, a, &reply, f);
        if (err == 0) err = store_result(config, &ticket, &key, &reply, f);
        if (err == 0 && ret != NULL)
                *ret = (struct join_result){ ticket.cluster, reply.members, reply.members_n };
        tls_ctx_unref(asking.ctx);
        if (request.p != NULL) secret_wipe(request.p, request.n);
        buf_done(&request);
        pem_done(&key);
        return err;
}
