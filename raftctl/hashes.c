/* Comparing the state between members. Followers report the hash of their state with results; the leader
 * compares where it has one of its own for the same write-set. A member that differs is told once a majority
 * agrees with the leader; a leader that differs from a majority stops itself. */
#include <string.h>

#include "raftctl/driver_int.h"

void hash_note(struct driver *d, const struct applied *a)
{
        struct hash_point *h;

        if (a->writeset_index == 0) return;
        h = &d->hashes[(d->hashes_at + HASH_RING - 1) % HASH_RING];
        if (h->index == a->writeset_index) return;
        h = &d->hashes[d->hashes_at++ % HASH_RING];
        h->index = a->writeset_index;
        memcpy(h->hash, a->hash, sizeof(h->hash));
}

static const struct hash_point *find(const struct driver *d, uint64_t index)
{
        for (unsigned i = 0; i < HASH_RING; i++)
                if (d->hashes[i].index == index) return &d->hashes[i];
        return NULL;
}

void hash_fill(struct driver *d, struct rf_append_result *m)
{
        if (d->installing || d->applied.writeset_index == 0) return;
        SET(m, rf_append_result, hash_index, d->applied.writeset_index);
        SET(m, rf_append_result, hash, BLOB(d->applied.hash, 32));
}

static void judge(struct driver *d, uint64_t index)
{
        const struct raft_configuration *c = &d->raft.configuration;
        unsigned good = conf_is_voter(c, d->id), bad = 0, majority = conf_voters(c) / 2 + 1;

        for (unsigned i = 0; i < d->peers_n; i++) {
                if (!conf_is_voter(c, d->peers[i].id)) continue;
                bad += d->peers[i].hash_bad >= index;
                good += d->peers[i].hash_good >= index && d->peers[i].hash_bad < index;
        }
        if (bad >= majority) {
                drv_fatal(d, E_CORRUPT, "the state differs from that of a majority");
                return;
        }
        if (good < majority && conf_voters(c) > 2) return;
        for (unsigned i = 0; i < d->peers_n; i++) {
                struct peer *p = &d->peers[i];
                struct rf_fence m = { 0 };
                if (p->hash_bad == 0) continue;
                SET(&m, rf_fence, hash_index, p->hash_bad);
                SET(&m, rf_fence, hash, BLOB(p->hash_bad_ours, 32));
                peer_send(d, p->id, CHANNEL_RAFT, raft_frame_FENCE, &m);
        }
}

void hash_on_report(struct driver *d, struct peer *p, const struct rf_append_result *m)
{
        const struct hash_point *h;

        if (!d->leading || !HAS(m, rf_append_result, hash) || m->hash_index == 0) return;
        if (m->hash_index <= p->hash_good) return;
        h = find(d, m->hash_index);
        if (!h) return;
        if (memcmp(h->hash, m->hash.p, 32) == 0) {
                p->hash_good = m->hash_index;
        } else {
                p->hash_bad = m->hash_index;
                memcpy(p->hash_bad_ours, h->hash, 32);
        }
        for (unsigned i = 0; i < d->peers_n; i++)
                if (d->peers[i].hash_bad) {
                        judge(d, d->peers[i].hash_bad);
                        return;
                }
}

void hash_on_fence(struct driver *d, const struct rf_fence *m)
{
        const struct hash_point *h = find(d, m->hash_index);

        if (h && memcmp(h->hash, m->hash.p, 32) != 0)
                drv_fatal(d, E_CORRUPT, "the state differs from that of the leader and a majority");
}
