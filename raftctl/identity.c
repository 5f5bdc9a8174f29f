/* DIR/identity, and founding. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raftctl/member_int.h"
#include "raftctl/store_lmdb.h"
#include "state/checksum.h"
#include "state/kv_mem.h"
#include "state/overlay.h"
#include "state/table.h"
#include "state/writeset.h"
#include "wire/base/dir.h"
#include "wire/codec/codec.h"
#include "wire/net/join_client.h"
#include "wire/net/join_token.h"
#include "wire/net/kinds.h"

enum { JOIN_ARENA = 1 << 20 };

static int identity_path(char out[PATH_MAX], const char *dir, struct fail *f)
{
        int n = snprintf(out, PATH_MAX, "%s/identity", dir);
        return n > 0 && n < PATH_MAX ? 0 : fail_set(f, E_TOO_LARGE, "path too long: %.100s", dir);
}

uint64_t identity_new_id(struct env *env)
{
        uint64_t id;
        do id = env_random_u64(env) >> 1;
        while (id == 0);
        return id;
}

/* Over the file as it would be without it. */
static void identity_check(const struct member_identity *id, char ret[17])
{
        struct member_identity bare = *id;
        struct buf b = { 0 };
        UNSET(&bare, member_identity, check);
        bare.check = NULL;
        enc_json(&member_identity_type, &bare, JSON_DUMP, &b);
        (void)snprintf(ret, 17, "%016llx", (unsigned long long)checksum64(BLOB("identity", 8), buf_blob(&b)));
        buf_done(&b);
}

static void identity_encode(const struct member_identity *id, struct buf *out)
{
        struct member_identity whole = *id;
        char check[17];
        identity_check(id, check);
        SET(&whole, member_identity, check, check);
        enc_json(&member_identity_type, &whole, JSON_DUMP, out);
        buf_put_str(out, "\n");
}

int identity_load(const char *dir, struct arena *a, struct member_identity *ret, struct fail *f)
{
        char path[PATH_MAX];
        struct pem text = { 0 };
        int err = identity_path(path, dir, f);
        if (err == 0) err = pki_load(path, &text, f);
        if (err != 0) return err;
        err = dec_json(&member_identity_type, BLOB(text.text, text.n), a, ret, f);
        pem_done(&text);
        if (err == 0 &&
                (ret->raft_id == 0 || ret->name == NULL || ret->address == NULL || ret->cluster == NULL))
                err = fail_set(f, E_CORRUPT, "it is not complete");
        char check[17];
        if (err == 0) identity_check(ret, check);
        if (err == 0 && ret->check != NULL && strcmp(ret->check, check) != 0)
                err = fail_set(f, E_CORRUPT, "its checksum does not match");
        return err != 0 ? fail_wrap(f, "%s", path) : 0;
}

int identity_save(const char *dir, const struct member_identity *id, struct fail *f)
{
        char path[PATH_MAX];
        struct buf b = { 0 };
        int err = identity_path(path, dir, f);
        if (err != 0) return err;
        identity_encode(id, &b);
        err = b.err != 0 ? fail_set(f, b.err, "%s", err_text(b.err))
                         : pki_file_write(path, buf_blob(&b), 0600, f);
        buf_done(&b);
        return err;
}

/* ---- the others ---- */

static bool same_members(const struct local_member *m, const struct member_row *rows, uint32_t n)
{
        uint32_t k = 0;
        for (uint32_t i = 0; i < n; i++) {
                if (rows[i].raft_id == m->identity.raft_id) continue;
                if (k == m->identity.members_n) return false;
                const struct join_member *j = &m->identity.members[k++];
                if (j->raft_id != rows[i].raft_id || j->role != rows[i].role ||
                        strcmp(j->name, rows[i].name) != 0 || strcmp(j->address, rows[i].address) != 0)
                        return false;
        }
        return k == m->identity.members_n;
}

static void write_identity(uv_work_t *work)
{
        struct local_member *m = work->data;
        struct fail none = { 0 };
        int err = pki_file_write(m->identity_write.path, buf_blob(&m->identity_write.text), 0600, &none);
        (void)err; /* it only helps to find the others again: the next change writes it anew */
}

static void on_identity_written(uv_work_t *work, int status)
{
        struct local_member *m = work->data;
        free(m->identity_write.path);
        buf_done(&m->identity_write.text);
        m->identity_write = (struct identity_write){ 0 };
        member_settle(m);
}

void identity_note_members(struct local_member *m, const struct member_row *rows, uint32_t n)
{
        struct identity_write *w = &m->identity_write;
        uint32_t k = 0;
        if (w->busy || m->closing || m->identity.is_volatile || same_members(m, rows, n)) return;
        arena_reset(&m->members_arena);
        struct join_member *list = arena_array(&m->members_arena, struct join_member, n + 1);
        if (list == NULL) return;
        for (uint32_t i = 0; i < n; i++) {
                if (rows[i].raft_id == m->identity.raft_id) continue;
                struct join_member *j = &list[k++];
                SET(j, join_member, name, arena_strdup(&m->members_arena, rows[i].name));
                SET(j, join_member, raft_id, rows[i].raft_id);
                SET(j, join_member, address, arena_strdup(&m->members_arena, rows[i].address));
                SET(j, join_member, role, rows[i].role);
        }
        SET(&m->identity, member_identity, members, list);
        m->identity.members_n = k;
        identity_encode(&m->identity, &w->text);
        w->path = xasprintf("%s/identity", m->dir);
        w->work.data = m;
        w->busy = w->text.err == 0 &&
                  uv_queue_work(m->loop, &w->work, write_identity, on_identity_written) == 0;
        if (w->busy) {
                m->live++;
                return;
        }
        free(w->path);
        buf_done(&w->text);
        *w = (struct identity_write){ 0 };
}

/* ---- certificates ---- */

uint32_t member_cert_names(const char *name, const char *address, const char *const *sans, uint32_t sans_n,
        char host[64], const char *ret[PKI_ADDRESSES_MAX])
{
        static const char *const local[] = { "localhost", "127.0.0.1", "::1" };
        struct sockaddr_storage a;
        uint32_t n = 0;
        for (uint32_t i = 0; i < sans_n && i < MEMBER_SANS_MAX; i++) ret[n++] = sans[i];
        ret[n++] = name;
        if (address != NULL && conn_parse_address(address, RAFT_PORT, &a) == 0) {
                int rc = a.ss_family == AF_INET6 ? uv_ip6_name((const struct sockaddr_in6 *)&a, host, 64)
                                                 : uv_ip4_name((const struct sockaddr_in *)&a, host, 64);
                if (rc == 0) ret[n++] = host;
        }
        for (size_t i = 0; i < ARRAY_LEN(local); i++) ret[n++] = local[i];
        return n;
}

/* ---- founding ---- */

static int make_certificates(
        const struct member_founding *c, const char *uuid, struct pki_dir *d, struct fail *f)
{
        struct pem csr = { 0 };
        uint64_t now_s = c->env->wall_ms(c->env) / 1000;
        const char *names[PKI_ADDRESSES_MAX];
        char host[64];
        struct pki_subject s = {
                .cluster = uuid, .role = PKI_CONTROLLER, .name = c->name, .addresses = names, .now_s = now_s
        };
        s.addresses_n = member_cert_names(c->name, c->address, c->sans, c->sans_n, host, names);
        int err = pki_make_ca(uuid, now_s, &d->ca, &d->ca_key, f);
        if (err == 0) err = pki_make_key(&d->key, f);
        if (err == 0) err = pki_make_csr(&d->key, c->name, &csr, f);
        if (err == 0) err = pki_sign(&d->ca, &d->ca_key, &csr, &s, &d->cert, f);
        pem_done(&csr);
        return err;
}

static int put_rows(struct tx *tx, const struct cluster *c, const struct member *m)
{
        int err = row_put(tx, &cluster_type, c);
        return err != 0 ? err : row_put(tx, &member_type, m);
}

/* The first write-set: the cluster's row and the founder's. */
static int make_writeset(const struct member_founding *c, const struct member_identity *id,
        const struct pki_dir *d, struct buf *out, struct fail *f)
{
        struct pki_identity cert;
        char hex[2 * PKI_PIN_SIZE + 1];
        struct cluster row = { 0 };
        struct member m = { 0 };
        int64_t now = (int64_t)c->env->wall_ms(c->env);
        int err = pki_identity(&d->cert, &cert, f);
        if (err != 0) return err;
        for (unsigned i = 0; i < PKI_PIN_SIZE; i++)
                (void)snprintf(hex + (size_t)2 * i, 3, "%02x", cert.fingerprint[i]);
        SET(&row, cluster, uuid, id->cluster);
        SET(&row, cluster, name, c->cluster_name != NULL ? c->cluster_name : "outrigger");
        SET(&row, cluster, created_ms, now);
        SET(&row, cluster, feature_level, LEVEL_MAX); /* there is nobody yet who could be older */
        SET(&m, member, name, id->name);
        SET(&m, member, raft_id, id->raft_id);
        SET(&m, member, address, id->address);
        SET(&m, member, role, cert_role_CONTROLLER);
        SET(&m, member, fingerprint, hex);
        SET(&m, member, joined_ms, now);
        if (c->zone != NULL) SET(&m, member, zone, c->zone);
        struct kv_mem *kv = kv_mem_new();
        struct tx *base = kv_mem_read(kv);
        struct overlay *o = overlay_new(base);
        err = put_rows(overlay_tx(o), &row, &m);
        if (err == 0) err = writeset_encode(o, 0, out);
        overlay_free(o);
        kv_mem_end(base);
        kv_mem_free(kv);
        return err != 0 ? fail_set(f, err, "the first rows: %s", err_text(err)) : 0;
}

static void on_store_closed(void *arg) { *(bool *)arg = true; }
static void turn(void *arg) { (void)uv_run(arg, UV_RUN_ONCE); }

static int found_store(const struct member_founding *c, const struct member_identity *id,
        struct blob writeset, struct fail *f)
{
        char path[PATH_MAX];
        uv_loop_t loop;
        struct store *store = NULL;
        bool closed = false;
        struct driver_founder founder = { id->raft_id, id->address, MEMBER_VOTER };
        struct store_identity sid = { .member_id = id->raft_id };
        int n = snprintf(path, sizeof path, "%s/" MEMBER_STORE_DIR, c->dir);
        if (n < 0 || (size_t)n >= sizeof path)
                return fail_set(f, E_TOO_LARGE, "path too long: %.100s", c->dir);
        (void)snprintf(sid.cluster_uuid, sizeof sid.cluster_uuid, "%s", id->cluster);
        int err = uv_loop_init(&loop);
        if (err != 0) return fail_set(f, err, "%s", uv_strerror(err));
        err = store_lmdb_open(&loop, &(struct store_lmdb_config){ .dir = path }, &store, f);
        if (err == 0 && (err = store_lmdb_set_identity(store, &sid)) != 0)
                (void)fail_set(f, err, "%s: %s", path, err_text(err));
        if (err == 0) err = driver_found(store, &founder, 1, writeset, turn, &loop, f);
        if (store != NULL) {
                store->ops->close(store, on_store_closed, &closed);
                while (!closed) (void)uv_run(&loop, UV_RUN_ONCE);
        }
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        (void)uv_loop_close(&loop);
        return err;
}

static int check_founding(const struct member_founding *c, struct fail *f)
{
        struct sockaddr_storage a;
        struct pki_dir old;
        struct fail none = { 0 };
        if (!pki_name_valid(c->name))
                return fail_set(f, E_INVALID,
                        "'%s' is not a valid name: letters, digits, '.', '_' and '-' only", c->name);
        if (conn_parse_address(c->address, RAFT_PORT, &a) != 0)
                return fail_set(f, E_INVALID,
                        "'%s' is not an IP address with a port (as 10.0.0.1:3372 or [fd00::1]:3372)",
                        c->address);
        if (c->zone != NULL && (!pki_name_valid(c->zone) || strlen(c->zone) > POLICY_ZONE_MAX))
                return fail_set(f, E_INVALID,
                        "'%s' is not a valid name of a zone: up to 63 letters, digits, '.', '_' and '-'",
                        c->zone);
        if (c->sans_n > MEMBER_SANS_MAX) return fail_set(f, E_LIMIT, "more than %d names", MEMBER_SANS_MAX);
        int err = pki_dir_load(c->dir, &old, &none);
        if (err == E_NOT_FOUND) return 0;
        pki_dir_done(&old);
        return fail_set(f, E_EXISTS,
                "%s belongs to a cluster already; to found another one, move that directory away", c->dir);
}

int member_found(const struct member_founding *founding, struct fail *f)
{
        struct member_founding c = *founding;
        char uuid[PKI_UUID_SIZE];
        struct pki_dir d = { 0 };
        struct buf writeset = { 0 };
        struct member_identity id = { 0 };
        if (c.env == NULL) c.env = env_real();
        int err = check_founding(&c, f);
        if (err != 0) return err;
        env_uuid(c.env, uuid);
        SET(&id, member_identity, raft_id, identity_new_id(c.env));
        SET(&id, member_identity, name, c.name);
        SET(&id, member_identity, address, c.address);
        SET(&id, member_identity, cluster, uuid);
        SET(&id, member_identity, started, true);
        err = make_certificates(&c, uuid, &d, f);
        if (err == 0) err = make_writeset(&c, &id, &d, &writeset, f);
        if (err == 0) err = dir_make(c.dir, f);
        if (err == 0) err = found_store(&c, &id, buf_blob(&writeset), f);
        if (err == 0) err = identity_save(c.dir, &id, f);
        if (err == 0) err = pki_dir_save(c.dir, &d, f); /* last: the certificate says that all is there */
        pki_dir_done(&d);
        buf_done(&writeset);
        return err;
}

/* ---- joining ---- */

/* The id of an interrupted attempt is used again, so that the token can be. */
static int prepare_identity(const struct member_joining *c, const struct join_ticket *t, struct arena *a,
        struct member_identity *id, struct fail *f)
{
        struct fail none = { 0 };
        struct member_identity old = { 0 };
        int err = identity_load(c->dir, a, &old, &none);
        if (err == 0 && old.started)
                return fail_set(f, E_EXISTS,
                        "%s belongs to a cluster already; to join anew, move that directory away", c->dir);
        bool again = err == 0 && strcmp(old.cluster, t->cluster) == 0 && strcmp(old.name, c->name) == 0;
        SET(id, member_identity, raft_id, again ? old.raft_id : identity_new_id(env_real()));
        SET(id, member_identity, name, c->name);
        SET(id, member_identity, address, c->address);
        SET(id, member_identity, cluster, t->cluster);
        SET(id, member_identity, started, false);
        if (c->is_volatile) SET(id, member_identity, is_volatile, true);
        err = dir_make(c->dir, f);
        return err != 0 ? err : identity_save(c->dir, id, f);
}

int member_join(const struct member_joining *c, struct fail *f)
{
        struct arena a;
        struct join_ticket t = { 0 };
        struct member_identity id = { 0 };
        struct join_result got = { 0 };
        struct sockaddr_storage addr;
        if (conn_parse_address(c->address, RAFT_PORT, &addr) != 0)
                return fail_set(f, E_INVALID,
                        "'%s' is not an IP address with a port (as 10.0.0.1:3372 or [fd00::1]:3372)",
                        c->address);
        arena_init(&a, JOIN_ARENA);
        int err = token_decode(c->token, &a, &t, f);
        if (err == 0 && t.role != cert_role_CONTROLLER && t.role != cert_role_WITNESS)
                err = fail_set(f, E_INVALID, "this token is for a satellite: use 'outrigger-satellite join'");
        if (err == 0) err = prepare_identity(c, &t, &a, &id, f);
        struct join_config jc = { .token = c->token,
                .dir = c->dir,
                .name = c->name,
                .role = t.role,
                .address = c->address,
                .zone = c->zone,
                .standby = c->standby,
                .raft_id = id.raft_id,
                .is_volatile = c->is_volatile,
                .sans = c->sans,
                .sans_n = c->sans_n,
                .timeout_ms = c->timeout_ms };
        if (err == 0) err = join_run(&jc, &a, &got, f);
        if (err == 0) {
                SET(&id, member_identity, members, got.members);
                id.members_n = got.members_n;
                err = identity_save(c->dir, &id, f);
        }
        arena_done(&a);
        return err;
}
