#include "satellite/drbd/drbd_take.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "satellite/base/inject.h"
#include "satellite/base/put_file.h"
#include "satellite/drbd/drbd_node.h"
#include "wire/base/log.h"

#define GIVE_TRIES 10 /* udev may have the device open for a moment */

static atomic_int taken; /* by this process */

struct paths {
        char conf[DRBD_PATH_SIZE], res[DRBD_PATH_SIZE], mark[DRBD_PATH_SIZE + 8];
};

static int find_paths(const char *rsc_name, struct paths *p)
{
        int err = drbd_node_paths(rsc_name, p->conf, p->res);
        if (err == 0) snprintf(p->mark, sizeof p->mark, "%s.taken", p->conf);
        return err;
}

/* Is it Primary here, or at a peer? */
static int look(const char *rsc_name, bool *ret_here, bool *ret_any, struct trouble *t)
{
        struct drbd_events e = { 0 };
        int err = drbd_node_now(rsc_name, &e, t);
        const struct drbd_resource *r = err == 0 ? drbd_events_find(&e, rsc_name) : NULL;
        *ret_here = r != NULL && drbd_is_primary(r);
        *ret_any = r != NULL && drbd_any_primary(r);
        drbd_events_done(&e);
        return err;
}

int drbd_take(const char *rsc_name, struct trouble *t)
{
        struct paths p;
        struct buf text = { 0 };
        bool here, any;
        int err = find_paths(rsc_name, &p);
        if (err == 0) err = look(rsc_name, &here, &any, t);
        if (err != 0) return err;
        if (any) return 1;
        err = put_file(p.mark, &text, t);
        atomic_fetch_add(&taken, 1);
        if (err == 0) err = drbd_node_run(t, "drbdadm", "-c", p.conf, "primary", rsc_name, NULL);
        if (err == 0) {
                inject_point(INJECT_DRBD_TAKEN);
                return 0;
        }
        atomic_fetch_sub(&taken, 1);
        (void)unlink(p.mark);
        return err;
}

static int give_back(const struct paths *p, const char *rsc_name, struct trouble *t)
{
        static const struct timespec pause = { .tv_nsec = 500000000 };
        int err = 0;
        for (unsigned i = 0; i < GIVE_TRIES; i++) {
                if (i > 0) (void)nanosleep(&pause, NULL);
                err = drbd_node_run(t, "drbdadm", "-c", p->conf, "secondary", rsc_name, NULL);
                if (err == 0) break;
        }
        /* Also when it is in use: then it is theirs. */
        (void)unlink(p->mark);
        return err;
}

int drbd_give_back(const char *rsc_name, struct trouble *t)
{
        struct paths p;
        int err = find_paths(rsc_name, &p);
        if (err == 0) err = give_back(&p, rsc_name, t);
        atomic_fetch_sub(&taken, 1);
        return err;
}

void drbd_give_back_left(const char *rsc_name)
{
        struct paths p;
        struct trouble t;
        bool here, any;
        if (atomic_load(&taken) > 0 || find_paths(rsc_name, &p) != 0 || access(p.mark, F_OK) != 0) return;
        if (look(rsc_name, &here, &any, &t) != 0) return;
        if (!here) (void)unlink(p.mark);
        else if (give_back(&p, rsc_name, &t) != 0)
                log_info("drbd", "%s: it was taken to make a file system, and is in use now", rsc_name);
}

void drbd_take_forget(const char *rsc_name)
{
        struct paths p;
        if (find_paths(rsc_name, &p) == 0) (void)unlink(p.mark);
}
