/* The work of one backup on this node: an upload reads the snapshot's volumes, sends each as an object in parts, and writes the
 * description last, so that a backup without one is none; a download makes the snapshot out of the objects. Begun anew after a
 * restart, an upload first ends what is left of the earlier one. A shipment to another cluster goes over a connection between the two
 * satellites (satellite/ship/ship_link.h): the receiver listens, and says at which port; the sender connects when it is told where.
 *
 * Threads: one of its own; `cancel`, `done_kib` and `port` are shared. Ownership: what it points to is borrowed. */
#ifndef SATELLITE_SHIP_SHIP_JOB_H
#define SATELLITE_SHIP_SHIP_JOB_H

#include <stdatomic.h>

#include "satellite/provider/provider.h"
#include "satellite/ship/ship_link.h"
#include "satellite/ship/ship_stream.h"
#include "wire/net/s3.h"

struct ship_place {
        enum provider_kind kind;
        const char *place; /* NULL: the pool cannot be used */
};
struct ship_work {
        const struct sat_ship *ship;
        const struct ship_place *places; /* one for each volume */
        atomic_bool cancel;
        _Atomic uint64_t done_kib;
        bool full;                            /* UPLOAD: its base cannot be used */
        struct ship_keys keys;                /* SEND, RECEIVE */
        atomic_uint port;                     /* RECEIVE: that it listens at; 0 = not yet */
        void (*listens)(struct ship_work *w); /* port is set now; from its thread */
        bool lost;                            /* it failed for want of a connection; when it has ended */
};
/* 0, or negative with the explanation. */
int ship_job_run(struct ship_work *w, struct trouble *t) MUST_USE;

/* ---- ship_job.c, ship_peer.c ---- */
struct ship_volume {
        struct ship_work *work;
        struct s3_target target;
        const struct sat_ship_vlm *vlm;
        struct dev dev, base; /* base: of a difference; backing_id NULL = all of it is shipped */
        const struct provider *provider;
        struct fail fail;
};
int ship_volume_open(struct ship_work *w, uint32_t i, struct ship_volume *v, struct trouble *t) MUST_USE;
/* Its stream, or the difference to its base, through put. */
int ship_volume_read(struct ship_volume *v, ship_put_fn *put, void *arg, struct trouble *t) MUST_USE;
/* The base's device; NULL: none. */
static inline const struct dev *ship_volume_base(const struct ship_volume *v)
{
        return v->base.backing_id != NULL ? &v->base : NULL;
}
/* Says what failed about the volume; returns err. */
int ship_volume_failed(struct trouble *t, const struct ship_volume *v, int err, const char *what);
int ship_peer_send(struct ship_work *w, struct trouble *t) MUST_USE;
int ship_peer_receive(struct ship_work *w, struct trouble *t) MUST_USE;

#endif
