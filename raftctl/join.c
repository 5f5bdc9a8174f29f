/* The asked side of joining.
 *
 * Happy path: JOIN frame -> decoded and checked -> the certificate is signed (so that a bad request uses
 * nothing up) -> the operation is submitted -> committed -> JOIN_REPLY with certificate, CA, members, and for
 * controllers the CA's key. Failures: refused by us or by the operation: text and remedy; no quorum, or no
 * signing key here: `retry`, and the joiner asks another member. The connection may be gone by then: replies
 * go by number (transport_reply). */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftctl/join_op.h"
#include "raftctl/member_int.h"
#include "wire/codec/codec.h"
#include "wire/net/join_token.h"
#include "wire/net/kinds.h"

/* The asker waits 8 s for each member (join_client.c): a request must not outlive the one who asked. */
enum { JOIN_ARENA = 256 << 10, JOIN_WAIT_MS = 7000 };

struct joining {
        struct local_member *m;
        uint64_t caller;
        struct arena arena;
        struct join_request req;
        struct join_op op;
        struct pem cert; /* empty when a member comes back */
};

static void joining_free(struct joining *j)
{
        pem_done(&j->cert);
        arena_done(&j->arena);
        free(j);
}

static void send_reply(struct local_member *m, uint64_t caller, const struct join_reply *r)
{
        struct buf b = { 0 };
        if (enc_msgpack(&join_reply_type, r, &b) == 0) transport_reply(m->transport, caller, buf_blob(&b));
        if (b.p != NULL) secret_wipe(b.p, b.n);
        buf_done(&b);
}

static void refuse(
        struct local_member *m, uint64_t caller, int err, const char *text, const char *remedy, bool retry)
{
        struct join_reply r = { 0 };
        SET(&r, join_reply, err, err);
        SET(&r, join_reply, text, text);
        SET(&r, join_reply, remedy, remedy);
        SET(&r, join_reply, retry, retry);
        send_reply(m, caller, &r);
}

static void fill_members(struct joining *j, struct join_reply *r)
{
        struct member_row rows[MEMBER_ROWS_MAX];
        bool table;
        uint32_t n = member_rows(j->m, rows, &table);
        struct join_member *list = arena_array(&j->arena, struct join_member, n + 1);
        if (list == NULL) return;
        uint32_t k = 0;
        for (uint32_t i = 0; i < n; i++) {
                if (strcmp(rows[i].name, j->op.name) == 0) continue;
                struct join_member *jm = &list[k++];
                SET(jm, join_member, name, arena_strdup(&j->arena, rows[i].name));
                SET(jm, join_member, raft_id, rows[i].raft_id);
                SET(jm, join_member, address, arena_strdup(&j->arena, rows[i].address));
                SET(jm, join_member, role, rows[i].role);
        }
        SET(r, join_reply, members, list);
        r->members_n = k;
}

static void let_in(struct joining *j)
{
        struct join_reply r = { 0 };
        struct local_member *m = j->m;
        SET(&r, join_reply, cluster, m->identity.cluster);
        if (j->cert.n > 0) SET(&r, join_reply, cert, j->cert.text);
        SET(&r, join_reply, ca, m->pki.ca.text);
        if (j->op.role == cert_role_CONTROLLER && j->cert.n > 0)
                SET(&r, join_reply, ca_key, m->pki.ca_key.text);
        fill_members(j, &r);
        send_reply(m, j->caller, &r);
        if (m->hooks->on_joined != NULL) m->hooks->on_joined(m->arg, &j->op);
}

static void on_op(void *arg, int err, const struct op_outcome *out)
{
        struct joining *j = arg;
        struct local_member *m = j->m;
        if (m->closing) {
                joining_free(j);
                return;
        }
        if (err != 0)
                refuse(m, j->caller, err,
                        err == E_NO_QUORUM ? "the cluster has no quorum at the moment" : err_text(err),
                        "it is tried again; if it stays, look at 'raftctl status' on a member", true);
        else if (out->err != 0)
                refuse(m, j->caller, (int)out->err, out->text != NULL ? out->text : "refused",
                        out->remedy != NULL ? out->remedy : "", out->err == E_BUSY);
        else let_in(j);
        joining_free(j);
}

static const char *hex_of(struct arena *a, const uint8_t *p, size_t n)
{
        char *s = arena_alloc(a, 2 * n + 1);
        return sodium_bin2hex(s, 2 * n + 1, p, n);
}

/* Signs, and notes the certificate's fingerprint and the request's pin. */
static int sign(struct joining *j, struct fail *f)
{
        struct pem csr = { 0 };
        struct pki_identity id;
        uint8_t pin[PKI_PIN_SIZE];
        const char *names[PKI_ADDRESSES_MAX];
        const struct join_request *q = &j->req;
        char host[64];
        if (q->csr == NULL) return fail_set(f, E_INVALID, "the request holds no certificate request");
        if (q->sans_n > MEMBER_SANS_MAX) return fail_set(f, E_LIMIT, "more than %d names", MEMBER_SANS_MAX);
        uint32_t n = member_cert_names(q->name, q->address, q->sans, q->sans_n, host, names);
        int err = pem_set(&csr, BLOB(q->csr, strlen(q->csr)));
        if (err == 0) err = member_sign(j->m, &csr, (enum pki_role)q->role, q->name, names, n, &j->cert, f);
        else (void)fail_set(f, err, "the certificate request is too large");
        pem_done(&csr);
        if (err == 0) err = pki_identity(&j->cert, &id, f);
        if (err != 0) return err;
        /* the public key, not the request's bytes, which differ each time: its hash is the same for the same
         * key */
        err = pki_key_pin(&j->cert, pin, f);
        if (err != 0) return err;
        SET(&j->op, join_op, fingerprint, hex_of(&j->arena, id.fingerprint, sizeof id.fingerprint));
        SET(&j->op, join_op, key_pin, hex_of(&j->arena, pin, sizeof pin));
        return 0;
}

static int check_request(struct joining *j, const struct pki_identity *id, struct fail *f)
{
        const struct join_request *q = &j->req;
        struct sockaddr_storage a;
        if (!pki_name_valid(q->name)) return fail_set(f, E_INVALID, "'%.100s' is not a valid name", q->name);
        if ((unsigned)q->role >= PKI_CLIENT)
                return fail_set(f, E_INVALID, "only machines join; for clients: 'raftctl client-cert'");
        if (q->role != cert_role_SATELLITE && (q->address == NULL || strlen(q->address) > 127 ||
                                                      conn_parse_address(q->address, RAFT_PORT, &a) != 0))
                return fail_set(f, E_INVALID, "the address is not an IP address with a port");
        if (q->zone != NULL && q->zone[0] != '\0' &&
                (!pki_name_valid(q->zone) || strlen(q->zone) > POLICY_ZONE_MAX))
                return fail_set(f, E_INVALID,
                        "the name of the zone is not up to 63 letters, digits, '.', '_' and '-'");
        if (q->token_id != NULL)
                return q->secret.n == TOKEN_SECRET_SIZE ? 0 : fail_set(f, E_INVALID, "the token is damaged");
        /* a member comes back: its certificate, and nothing else, says who it is */
        if (id == NULL || (id->role != PKI_WITNESS && id->role != PKI_CONTROLLER) ||
                (unsigned)q->role != (unsigned)id->role || strcmp(id->name, q->name) != 0)
                return fail_set(f, E_AUTH, "no token was given");
        return 0;
}

static int prepare(struct joining *j, const struct pki_identity *id, struct blob request, struct fail *f)
{
        const struct join_request *q = &j->req;
        int err = dec_msgpack(&join_request_type, request, DEC_TOLERANT, &j->arena, &j->req, f);
        if (err == 0) err = check_request(j, id, f);
        if (err != 0) return err;
        SET(&j->op, join_op, name, q->name);
        SET(&j->op, join_op, role, q->role);
        if (q->address != NULL) SET(&j->op, join_op, address, q->address);
        if (q->raft_id != 0) SET(&j->op, join_op, raft_id, q->raft_id);
        if (q->is_volatile) SET(&j->op, join_op, is_volatile, true);
        if (HAS(q, join_request, level_min)) SET(&j->op, join_op, level_min, q->level_min);
        if (HAS(q, join_request, level_max)) SET(&j->op, join_op, level_max, q->level_max);
        if (q->software != NULL) SET(&j->op, join_op, software, q->software);
        if (q->zone != NULL && q->zone[0] != '\0') SET(&j->op, join_op, zone, q->zone);
        if (q->standby) SET(&j->op, join_op, standby, true);
        if (q->token_id == NULL) {
                SET(&j->op, join_op, fingerprint, hex_of(&j->arena, id->fingerprint, sizeof id->fingerprint));
                return 0;
        }
        uint8_t *hash = arena_alloc(&j->arena, TOKEN_HASH_SIZE);
        token_hash(q->secret, hash);
        SET(&j->op, join_op, token_id, q->token_id);
        SET(&j->op, join_op, secret_hash, BLOB(hash, TOKEN_HASH_SIZE));
        return sign(j, f);
}

void join_serve(
        void *arg, uint64_t caller, const struct pki_identity *id, const char *address, struct blob request)
{
        struct local_member *m = arg;
        struct fail f = { 0 };
        if (m->closing || m->fatal || m->driver == NULL) return;
        struct joining *j = xnew(struct joining);
        j->m = m;
        j->caller = caller;
        arena_init(&j->arena, JOIN_ARENA);
        int err = prepare(j, id, request, &f);
        if (err != 0) {
                refuse(m, caller, err, f.text, "", err == E_UNSUPPORTED);
                joining_free(j);
                return;
        }
        member_submit(m, JOIN_OP_JOIN, &join_op_type, &j->op, JOIN_WAIT_MS, on_op, j);
}
