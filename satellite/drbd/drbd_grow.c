#include "satellite/drbd/drbd_grow.h"

#include <stdio.h>
#include <string.h>

#include "satellite/base/inject.h"
#include "satellite/base/memo.h"
#include "satellite/drbd/drbd_md.h"
#include "satellite/drbd/drbd_node.h"
#include "satellite/drbd/drbd_take.h"

#define TRIES 6

/* Under each volume's number, and: */
#define DONE UINT64_C(0)          /* below_kib, connected peers: it was tried with those */
#define TRIED (UINT64_C(1) << 32) /* below_kib, how often DRBD 8.4 was tried without a primary */
#define OWED (UINT64_C(2) << 32)  /* 1: it was in sync when its growth began */
static struct memos memos = MEMOS_INIT(memos);

static bool is_84(void) { return drbd_node_version()->gen == DRBD_GEN_84; }

static bool is_syncing(const struct drbd_resource *r, uint32_t volume)
{
        for (uint32_t i = 0; i < r->peers_n; i++) {
                const struct drbd_peer_device *d = drbd_peer_device_find(&r->peers[i], volume);
                if (d != NULL && drbd_is_syncing(d)) return true;
        }
        return false;
}

static uint64_t out_of_sync_kib(const struct drbd_resource *r, uint32_t volume)
{
        uint64_t kib = 0;
        for (uint32_t i = 0; i < r->peers_n; i++) {
                const struct drbd_peer_device *d = drbd_peer_device_find(&r->peers[i], volume);
                if (d != NULL) kib += d->out_of_sync_kib;
        }
        return kib;
}

static uint32_t wanted_peers(const struct sat_rsc *want)
{
        uint32_t n = 0;
        for (uint32_t i = 0; want != NULL && HAS(want, sat_rsc, drbd) && i < want->drbd->peers_n; i++)
                n += !want->drbd->peers[i].leaving && want->drbd->peers[i].paths_n > 0;
        return n;
}

/* Is every peer there, so that all get the new size? 8.4 does not show one whose connection is given up. */
static bool peers_there(const struct drbd_resource *now, const struct sat_rsc *want)
{
        uint32_t n = now->peers_n;
        if (is_84()) n = MAX(n, wanted_peers(want));
        return drbd_connected(now) == n;
}

/* Both nodes come here at the same time: the one with the lower number goes first, the other one when that does not seem to do it. */
static bool is_our_turn(const struct layer_vol *v, uint64_t tries)
{
        const struct sat_rsc *want = v->want;
        if (tries >= TRIES / 2 || want == NULL || !HAS(want, sat_rsc, drbd)) return true;
        for (uint32_t i = 0; i < want->drbd->peers_n; i++)
                if (want->drbd->peers[i].node_id < want->drbd->node_id) return false;
        return true;
}

/* How often that was tried for this size. The last try does not count: all begins anew then. */
static uint64_t next_try(const char *name, uint32_t volume, uint64_t below_kib)
{
        uint64_t n = 0;
        while (n < TRIES && !memo_is(&memos, name, TRIED + volume, below_kib, n)) n++;
        if (n == TRIES) n = 0; /* the first one for that size */
        memo_set(&memos, name, TRIED + volume, below_kib, n + 1);
        return n;
}

/* DRBD 8.4: as primary, so that what is new is synchronised. alone: it keeps the size while it has no peer, unless it is told not to
 * wait for one. */
static int grow_as_primary(
        const char *conf, const char *name, const char *what, bool alone, struct trouble *t)
{
        int taken = drbd_take(name, t), err;
        if (taken < 0) return taken;
        if (alone)
                err = drbd_node_run(
                        t, "drbdadm", "-c", conf, "--", "--assume-peer-has-space", "resize", what, NULL);
        else err = drbd_node_run(t, "drbdadm", "-c", conf, "resize", what, NULL);
        int back = taken == 0 ? drbd_give_back(name, t) : 0;
        return err != 0 ? err : back;
}

/* Grown while two nodes shook hands: DRBD 8.4 does not synchronise what is new. */
static bool owes_resync(const struct drbd_resource *r, uint32_t volume)
{
        return is_84() && memo_is(&memos, r->name, OWED + volume, 1, 0) && drbd_connected(r) > 0 &&
               !is_syncing(r, volume) && out_of_sync_kib(r, volume) > 0;
}

/* What is found to differ from here on is not of growing. */
static void pay(const char *name, uint32_t volume)
{
        if (memo_is(&memos, name, OWED + volume, 1, 0)) memo_set(&memos, name, OWED + volume, 0, 0);
}

static int synchronise(const char *conf, const char *what, const struct drbd_resource *now, struct trouble *t)
{
        bool theirs = drbd_any_primary(now) && !drbd_is_primary(now);
        return drbd_node_run(
                t, "drbdadm", "-c", conf, theirs ? "invalidate" : "invalidate-remote", what, NULL);
}

bool drbd_grow_due(const struct layer_vol *v, const struct drbd_resource *r, const struct drbd_device *dev)
{
        uint64_t kib = dev->size_kib;
        if (!drbd_has_disk(dev) || kib == 0) return false;
        if (kib >= drbd_md_usable_kib(v)) {
                if (drbd_connected(r) > 0 && out_of_sync_kib(r, dev->volume) == 0) pay(r->name, dev->volume);
                return owes_resync(r, dev->volume);
        }
        return !memo_is(&memos, r->name, DONE + dev->volume, v->below_kib, drbd_connected(r));
}

static int refuse_now(const struct layer_vol *v, struct trouble *t)
{
        return drbd_refuse(v, E_BUSY, TROUBLE_IN_USE, "it cannot grow while it is being synchronised.",
                "DRBD does not change the size of a device during a resync.",
                "Wait for the end of the resync; the satellite tries again by itself.", t);
}

static bool is_grown(const struct layer_vol *v, const struct drbd_device *dev)
{
        uint64_t usable_kib = drbd_md_usable_kib(v);
        return usable_kib > 0 && dev->size_kib >= usable_kib;
}

/* conf, what: for drbdadm. */
static int grow(const struct layer_vol *v, const struct drbd_resource *now, const struct drbd_device *dev,
        const char *conf, const char *what, struct trouble *t)
{
        const char *name = now->name;
        uint64_t tries = TRIES;
        bool grown = is_grown(v, dev); /* a peer was faster */
        bool owes = grown && owes_resync(now, dev->volume);
        int err = 0;
        if (grown && !owes) return 0;
        if (is_syncing(now, dev->volume)) return refuse_now(v, t);
        if (is_84() && !grown)
                memo_set(&memos, name, OWED + dev->volume, out_of_sync_kib(now, dev->volume) == 0, 0);
        if (owes || (is_84() && !drbd_any_primary(now) && drbd_connected(now) > 0)) {
                tries = next_try(name, dev->volume, v->below_kib);
                if (is_our_turn(v, tries))
                        err = owes ? synchronise(conf, what, now, t)
                                   : grow_as_primary(conf, name, what, false, t);
        } else if (is_84() && now->peers_n + wanted_peers(v->want) == 0)
                err = grow_as_primary(conf, name, what, true, t);
        else if (peers_there(now, v->want))
                err = drbd_node_run(t, "drbdadm", "-c", conf, "resize", what, NULL);
        inject_point(INJECT_DRBD_RESIZED);
        if (err == 0 && tries + 1 >= TRIES)
                memo_set(&memos, name, DONE + dev->volume, v->below_kib, drbd_connected(now));
        return err;
}

/* The peer may have grown it since the look at it: DRBD refuses then, for the resync of what is new has begun. err: what drbdadm's failure
 * was, in t. */
static int look_again(const struct layer_vol *v, const char *name, int err, struct trouble *t)
{
        struct drbd_events e = { 0 };
        struct trouble unseen = { 0 };
        if (drbd_node_now(name, &e, &unseen) == 0) {
                uint32_t volume = (uint32_t)v->dev->volume_number;
                const struct drbd_resource *now = drbd_events_find(&e, name);
                const struct drbd_device *dev = now == NULL ? NULL : drbd_device_find(now, volume);
                if (dev != NULL && is_grown(v, dev)) {
                        *t = (struct trouble){ 0 };
                        err = 0;
                } else if (dev != NULL && is_syncing(now, volume)) err = refuse_now(v, t);
        }
        drbd_events_done(&e);
        return err;
}

int drbd_grow(const struct layer_vol *v, struct trouble *t)
{
        char conf[DRBD_PATH_SIZE], res[DRBD_PATH_SIZE], what[DRBD_NAME + 16];
        const char *name = v->dev->rsc_name;
        uint32_t volume = (uint32_t)v->dev->volume_number;
        struct drbd_events e = { 0 };
        if (drbd_node_paths(name, conf, res) != 0) return E_INVALID;
        int err = drbd_node_now(name, &e, t);
        if (err != 0) return err;
        const struct drbd_resource *now = drbd_events_find(&e, name);
        const struct drbd_device *dev = now == NULL ? NULL : drbd_device_find(now, volume);
        snprintf(what, sizeof what, "%s/%u", name, volume);
        if (dev != NULL && drbd_has_disk(dev))
                err = grow(v, now, dev, conf, what, t); /* else settling comes first */
        drbd_events_done(&e);
        return err == E_PROGRAM ? look_again(v, name, err, t) : err;
}

void drbd_grow_forget(const char *rsc_name) { memo_drop(&memos, rsc_name); }
