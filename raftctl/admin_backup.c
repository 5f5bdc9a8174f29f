/* BACKUP: a linearizable read, then the applied state as of that moment, in parts: the head, the cluster's
 * certificate authority, the chunks of the state stream.
 *
 * The read view stays open while the client takes the parts: it costs nothing but pages that cannot be used again
 * meanwhile. A client that takes nothing for half a minute is closed, and the view with it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftctl/admin_int.h"
#include "raftctl/backup.h"
#include "raftctl/takeover.h"
#include "state/table.h"
#include "wire/codec/codec.h"

enum { READ_MS = 10000, ELECTION_TIMEOUTS = 6, HEAD_ARENA = 64 << 10, TEXT_MAX = 160 };

struct sending {
        struct admin *admin;
        uint64_t number;
        bool opened, stale, last;
        bool secrets_sent;
        struct snapshot_reader reader;
        struct buf chunk;
};

static void finish(struct sending *s, int err, const char *text, const char *remedy)
{
        struct admin_reply r = { 0 };
        if (err != 0) {
                SET(&r, admin_reply, err, err);
                SET(&r, admin_reply, text, text);
                SET(&r, admin_reply, remedy, remedy);
        }
        if (s->opened) snapshot_close(&s->reader);
        if (!s->admin->closing) admin_reply_to(s->admin, s->number, &r);
        if (s->chunk.p != NULL) secret_wipe(s->chunk.p, s->chunk.cap);
        buf_done(&s->chunk);
        free(s);
}

static void send_next(void *arg, int err);

static int put_head(struct sending *s, struct buf *out)
{
        struct local_member *m = s->admin->m;
        struct arena a;
        struct cluster c = { 0 };
        struct backup_head h = { 0 };
        struct driver_status st;
        bool known;
        arena_init(&a, HEAD_ARENA);
        driver_status(m->driver, &st);
        int err = row_get_single(s->reader.tx, &cluster_type, &a, &c);
        uint64_t epoch = 0;
        if (err == 0) err = lineage_get(s->reader.tx, &epoch, &known);
        SET(&h, backup_head, cluster, m->identity.cluster);
        SET(&h, backup_head, cluster_name, c.name != NULL ? c.name : "");
        SET(&h, backup_head, index, s->reader.applied.index);
        SET(&h, backup_head, term, s->reader.applied.term);
        SET(&h, backup_head, member_term, MAX(st.term, s->reader.applied.term));
        SET(&h, backup_head, state_hash, BLOB(s->reader.applied.hash, sizeof s->reader.applied.hash));
        SET(&h, backup_head, feature_level, c.feature_level);
        SET(&h, backup_head, epoch, epoch);
        SET(&h, backup_head, member, m->identity.name);
        SET(&h, backup_head, made_ms, (int64_t)m->env->wall_ms(m->env));
        SET(&h, backup_head, stale, s->stale);
        SET(&h, backup_head, program, PACKAGE_VERSION);
        SET(&h, backup_head, secrets, m->pki.ca_key.n > 0);
        if (err == 0) err = enc_msgpack(&backup_head_type, &h, out);
        arena_done(&a);
        return err;
}

static int put_secrets(struct sending *s, struct buf *out)
{
        struct local_member *m = s->admin->m;
        struct backup_secrets secrets = { 0 };
        SET(&secrets, backup_secrets, ca, m->pki.ca.text);
        if (m->pki.ca_key.n > 0) SET(&secrets, backup_secrets, ca_key, m->pki.ca_key.text);
        s->secrets_sent = true;
        return enc_msgpack(&backup_secrets_type, &secrets, out);
}

/* The part before has left, or the client has. */
static void send_next(void *arg, int err)
{
        struct sending *s = arg;
        if (err != 0 || s->admin->closing || s->last) {
                finish(s, err, err_text(err), "");
                return;
        }
        buf_reset(&s->chunk);
        if (!s->secrets_sent) err = put_secrets(s, &s->chunk);
        else err = snapshot_next(&s->reader, &s->chunk, &s->last);
        if (err != 0) finish(s, err, "the state cannot be read", "look at the controller's log");
        else admin_part_to(s->admin, s->number, buf_blob(&s->chunk), send_next, s);
}

static void open_state(struct sending *s)
{
        static const uint8_t nothing[1];
        struct local_member *m = s->admin->m;
        struct buf head = { 0 };
        int err = snapshot_open(&s->reader, m->store, 0, BLOB(nothing, 0));
        s->opened = err == 0;
        if (err == 0) err = put_head(s, &head);
        if (err == E_NOT_FOUND)
                finish(s, err, "this member has no state yet",
                        "ask another member, or wait until it has caught up");
        else if (err != 0) finish(s, err, "the state cannot be read", "look at the controller's log");
        else admin_part_to(s->admin, s->number, buf_blob(&head), send_next, s);
        buf_done(&head);
}

static const char no_newest[] =
        "bring a majority of the voters back ('raftctl status'); or, to save what this member has, "
        "repeat it with --stale: newer writes may be missing then";

static void on_read(void *arg, int err, uint64_t index, uint64_t term)
{
        struct sending *s = arg;
        (void)index;
        (void)term;
        if (s->admin->closing || err == 0) {
                if (s->admin->closing) finish(s, E_CANCELED, "", "");
                else open_state(s);
                return;
        }
        finish(s, err, "the leader could not be asked for the newest state", no_newest);
}

/* How long it is worth while to wait for the leader; 0 = there is none, and none can come. */
static unsigned patience_ms(struct local_member *m, char text[TEXT_MAX])
{
        struct driver_status st;
        unsigned voters = 0, linked = 0;
        driver_status(m->driver, &st);
        if (st.leader_id != 0) return READ_MS;
        for (uint32_t i = 0; i < st.members_n; i++) {
                voters += st.members[i].role == MEMBER_VOTER;
                linked += st.members[i].role == MEMBER_VOTER && st.members[i].link_up;
        }
        if (2 * linked > voters) return ELECTION_TIMEOUTS * m->election_ms;
        (void)snprintf(text, TEXT_MAX,
                "there is no leader who knows the newest state: only %u of %u voters can be reached from "
                "here",
                linked, voters);
        return 0;
}

static void ask_leader(struct sending *s)
{
        struct local_member *m = s->admin->m;
        char text[TEXT_MAX];
        unsigned ms = patience_ms(m, text);
        if (ms == 0) finish(s, E_NO_QUORUM, text, no_newest);
        else driver_read(m->driver, member_now_ms(m) + ms, on_read, s);
}

void admin_backup(struct admin *a, uint64_t number, bool stale)
{
        struct local_member *m = a->m;
        struct sending *s = xnew(struct sending);
        s->admin = a;
        s->number = number;
        s->stale = stale;
        if (m->witness)
                finish(s, E_UNSUPPORTED, "a witness has no state to back up", "run this on a controller");
        else if (stale) open_state(s);
        else ask_leader(s);
}
