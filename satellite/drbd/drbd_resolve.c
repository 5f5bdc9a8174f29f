#include "satellite/drbd/drbd_resolve.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "satellite/drbd/drbd_node.h"
#include "wire/base/log.h"

#define PAUSE_MS 1000
#define RESOLVE_LOOKS 12

static void pause_a_while(void)
{
        static const struct timespec t = { .tv_sec = PAUSE_MS / 1000, .tv_nsec = PAUSE_MS % 1000 * 1000000L };
        (void)nanosleep(&t, NULL);
}

int drbd_in_use(const char *name, struct trouble *t)
{
        trouble_set(t, E_BUSY, TROUBLE_IN_USE, "Resource %s: it is in use on this node.", name);
        trouble_cause(t, "DRBD says that it is Primary here: it is mounted, or opened by a program.");
        trouble_fix(t, "End its use; the satellite tries again by itself.");
        return E_BUSY;
}

static const struct sat_drbd_peer *wanted_peer(const struct sat_drbd *d, const struct drbd_peer *p)
{
        const struct sat_drbd_peer *only = NULL;
        for (uint32_t i = 0; i < d->peers_n; i++) {
                if (d->peers[i].leaving) continue;
                if (drbd_node_version()->gen == DRBD_GEN_9 && d->peers[i].node_id != p->node_id) continue;
                only = &d->peers[i]; /* 8.4 has one, and numbers none */
        }
        return only;
}

/* Connects anew. Where our changes are to be given up the connection has to be a new one, also when it still tries (first). */
static int connect_once_more(const struct sat_rsc *want, const char *conf, const struct drbd_peer *p,
        bool first, struct trouble *t)
{
        const struct sat_drbd *d = want->drbd;
        const struct sat_drbd_peer *peer = wanted_peer(d, p);
        char which[DRBD_NAME + DRBD_NAME];
        bool alone = strcmp(p->connection, "StandAlone") == 0;
        if (peer == NULL || strcmp(p->connection, "Connected") == 0) return 0;
        bool discard = HAS(d, sat_drbd, discard_for) && peer->node_id == d->discard_for;
        if (!alone && !(discard && first)) return 0;
        if (drbd_node_version()->gen == DRBD_GEN_84) snprintf(which, sizeof which, "%s", want->rsc_name);
        else snprintf(which, sizeof which, "%s:%s", want->rsc_name, peer->uname);
        int err = alone ? 0 : drbd_node_run(t, "drbdadm", "-c", conf, "disconnect", which, NULL);
        if (err != 0) return err;
        log_info("drbd", "%s: connects once more%s", which,
                discard ? ", and gives up its own changes, as it was asked to" : "");
        if (!discard) return drbd_node_run(t, "drbdadm", "-c", conf, "connect", which, NULL);
        return drbd_node_run(t, "drbdadm", "-c", conf, "connect", "--discard-my-data", which, NULL);
}

static int stands_alone(const char *name, struct trouble *t)
{
        trouble_set(t, E_BUSY, TROUBLE_UNKNOWN, "Resource %s: DRBD gives a connection up again.", name);
        trouble_cause(t, "Both sides have changes of their own, or their options do not fit.");
        trouble_fix(t, "Say whose data is kept: outrigger resource resolve %s --keep NODE.", name);
        return E_BUSY;
}

/* Looks for some seconds: the two sides do this at different times, and give up again those attempts that come too early. */
int drbd_resolve(const struct sat_rsc *want, const char *conf, struct trouble *t)
{
        const char *name = want->rsc_name;
        const struct sat_drbd *d = want->drbd;
        uint32_t apart = 1, alone = 0;
        int err = 0;
        bool stop = false;
        for (unsigned i = 0; !stop && apart > 0 && i < RESOLVE_LOOKS; i++) {
                struct drbd_events e = { 0 };
                if (i > 0) pause_a_while();
                err = drbd_node_now(name, &e, t);
                const struct drbd_resource *now = err == 0 ? drbd_events_find(&e, name) : NULL;
                bool used = now != NULL && HAS(d, sat_drbd, discard_for) && strcmp(now->role, "Primary") == 0;
                if (used) err = drbd_in_use(name, t);
                stop = used || err == E_TIMEOUT;
                apart = err !=
                        0; /* a program that fails: DRBD was just giving the connection up, most likely */
                alone = 0;
                if (err == 0 && now != NULL && now->peers_n == 0 && drbd_node_version()->gen == DRBD_GEN_84) {
                        /* 8.4 forgets a connection that it has given up. */
                        static const struct drbd_peer gone = { .connection = "StandAlone" };
                        apart = alone = wanted_peer(d, &gone) != NULL;
                        err = connect_once_more(want, conf, &gone, i == 0, t);
                }
                for (uint32_t k = 0; err == 0 && now != NULL && k < now->peers_n; k++) {
                        apart += strcmp(now->peers[k].connection, "Connected") != 0;
                        alone += strcmp(now->peers[k].connection, "StandAlone") == 0;
                        err = connect_once_more(want, conf, &now->peers[k], i == 0, t);
                }
                drbd_events_done(&e);
        }
        if (err == 0 && alone > 0) err = stands_alone(name, t);
        return err;
}
