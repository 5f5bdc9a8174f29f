/* A member that comes back without its memory: asks the others, by its certificate, to be let in under a new id.
 *
 * The reply comes when the new row of the member table is committed. What follows is the leader's (reconcile.c): the
 * former id leaves the configuration, the new one is added, catches up, and votes. Interrupted before the new identity
 * is on disk, the former id is refused by everybody, and another attempt gives another id: nothing is lost. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raftctl/member_int.h"
#include "raftctl/store_lmdb_internal.h"
#include "wire/codec/codec.h"
#include "wire/net/join_client.h"
#include "wire/net/kinds.h"

enum { REJOIN_ARENA = 1 << 20, TIMEOUT_MS = 30000, ADDRESSES_MAX = 64 };

static const char stranger[] = "They do not belong to the cluster of this machine's certificate";

int rejoin_request(const struct member_identity *id, enum cert_role role, struct buf *out)
{
        struct join_request r = { 0 };
        SET(&r, join_request, name, id->name);
        SET(&r, join_request, role, role);
        SET(&r, join_request, address, id->address);
        SET(&r, join_request, raft_id, id->raft_id);
        if (id->is_volatile) SET(&r, join_request, is_volatile, true);
        SET(&r, join_request, level_min, LEVEL_MIN);
        SET(&r, join_request, level_max, LEVEL_MAX);
        SET(&r, join_request, software, SOFTWARE_VERSION);
        return enc_msgpack(&join_request_type, &r, out);
}

struct rejoin {
        struct arena arena;
        struct pki_dir pki;
        struct pki_identity cert;
        struct member_identity old, id;
        bool old_known;
        char store[PATH_MAX];
        const char *addresses[ADDRESSES_MAX];
        uint32_t addresses_n;
        int lock_fd;
};

static int load(struct rejoin *r, const char *dir, struct fail *f)
{
        struct fail none = { 0 };
        int err = pki_dir_load(dir, &r->pki, f);
        if (err == E_NOT_FOUND)
                return fail_set(f, E_NOT_FOUND,
                        "%s: no certificate: this machine cannot show who it is. On another member: 'raftctl "
                        "remove "
                        "NAME' and 'raftctl token create'; here: 'raftctl join TOKEN'",
                        dir);
        if (err == 0) err = pki_identity(&r->pki.cert, &r->cert, f);
        if (err != 0) return err;
        if (r->cert.role != PKI_CONTROLLER && r->cert.role != PKI_WITNESS)
                return fail_set(f, E_AUTH, "the certificate in %s is that of a %s, not of a controller", dir,
                        pki_role_name(r->cert.role));
        /* one that is damaged or gone is made anew: the certificate has the name, the caller the address */
        r->old_known = identity_load(dir, &r->arena, &r->old, &none) == 0 &&
                       strcmp(r->old.name, r->cert.name) == 0 && strcmp(r->old.cluster, r->cert.cluster) == 0;
        return 0;
}

/* Nobody may be using the store whose identity ends here. */
static int lock_store(struct rejoin *r, const char *dir, struct fail *f)
{
        int n = snprintf(r->store, sizeof r->store, "%s/" MEMBER_STORE_DIR, dir);
        if (n < 0 || (size_t)n >= sizeof r->store)
                return fail_set(f, E_TOO_LARGE, "path too long: %.100s", dir);
        int err = member_lock(r->store, false, &r->lock_fd, f);
        if (err == E_BUSY)
                return fail_set(
                        f, E_BUSY, "%s is in use: stop outrigger-controller on this machine first", r->store);
        if (err == E_NOT_FOUND) r->lock_fd = -1;
        return err == E_NOT_FOUND ? 0 : err;
}

static int fill_identity(struct rejoin *r, const struct member_rejoining *c, struct fail *f)
{
        struct sockaddr_storage a;
        const char *address = c->address != NULL ? c->address : r->old_known ? r->old.address : NULL;
        if (address == NULL)
                return fail_set(f, E_INVALID,
                        "%s/identity is gone or damaged: say at which address the others reach this machine",
                        c->dir);
        if (conn_parse_address(address, RAFT_PORT, &a) != 0)
                return fail_set(
                        f, E_INVALID, "'%s' is not an IP address with a port (as 10.0.0.1:3372)", address);
        SET(&r->id, member_identity, raft_id, identity_new_id(env_real()));
        SET(&r->id, member_identity, name, r->cert.name);
        SET(&r->id, member_identity, address, address);
        SET(&r->id, member_identity, cluster, r->cert.cluster);
        SET(&r->id, member_identity, started, false);
        if (r->old_known && r->old.is_volatile) SET(&r->id, member_identity, is_volatile, true);
        for (uint32_t i = 0; i < c->peers_n && r->addresses_n < ADDRESSES_MAX; i++)
                r->addresses[r->addresses_n++] = c->peers[i];
        for (uint32_t i = 0; r->old_known && i < r->old.members_n && r->addresses_n < ADDRESSES_MAX; i++)
                r->addresses[r->addresses_n++] = r->old.members[i].address;
        return r->addresses_n > 0
                       ? 0
                       : fail_set(f, E_NOT_FOUND,
                                 "%s does not say where other members are: name one with --peer", c->dir);
}

static int ask(struct rejoin *r, const struct member_rejoining *c, struct join_reply *reply, struct fail *f)
{
        struct buf request = { 0 };
        struct join_asking asking = { .addresses = r->addresses,
                .addresses_n = r->addresses_n,
                .stranger = stranger,
                .timeout_ms = c->timeout_ms != 0 ? c->timeout_ms : TIMEOUT_MS };
        int err = tls_ctx_new(&(struct tls_config){ .ca = &r->pki.ca,
                                      .cert = &r->pki.cert,
                                      .key = &r->pki.key,
                                      .cluster = r->cert.cluster,
                                      .roles = PKI_ROLE_BIT(PKI_CONTROLLER) | PKI_ROLE_BIT(PKI_WITNESS) },
                &asking.ctx, f);
        if (err == 0) err = rejoin_request(&r->id, (enum cert_role)r->cert.role, &request);
        asking.request = buf_blob(&request);
        if (err == 0) err = join_ask_blocking(&asking, &r->arena, reply, f);
        tls_ctx_unref(asking.ctx);
        buf_done(&request);
        return err;
}

/* What is left of the former store goes aside, never away: it may be all that a recovery has. */
static int put_aside(struct rejoin *r, struct fail *f)
{
        struct stat st;
        char to[PATH_MAX + 64];
        if (lstat(r->store, &st) != 0) return 0;
        for (unsigned i = 0; i < 1000; i++) {
                (void)snprintf(to, sizeof to, "%s.%016llx.%u", r->store,
                        (unsigned long long)(r->old_known ? r->old.raft_id : 0), i);
                if (lstat(to, &st) == 0) continue;
                return rename(r->store, to) == 0 ? 0
                                                 : fail_set(f, -errno, "%s: %s", r->store, strerror(errno));
        }
        return fail_set(f, E_EXISTS, "%s.*: too many former stores: remove some", r->store);
}

int member_rejoin(const struct member_rejoining *c, struct fail *f)
{
        struct rejoin *r = xnew(struct rejoin);
        struct join_reply reply = { 0 };
        r->lock_fd = -1;
        arena_init(&r->arena, REJOIN_ARENA);
        int err = load(r, c->dir, f);
        if (err == 0) err = lock_store(r, c->dir, f);
        if (err == 0) err = fill_identity(r, c, f);
        if (err == 0) err = ask(r, c, &reply, f);
        if (err == 0) err = put_aside(r, f);
        if (err == 0) {
                SET(&r->id, member_identity, members, reply.members);
                r->id.members_n = reply.members_n;
                err = identity_save(c->dir, &r->id, f);
        }
        if (r->lock_fd >= 0) close(r->lock_fd);
        pki_dir_done(&r->pki);
        arena_done(&r->arena);
        free(r);
        return err;
}
