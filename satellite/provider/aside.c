#include "satellite/provider/aside.h"

#include <errno.h>
#include <time.h>

#define REMOVE_TRIES 5 /* udev looks at a device whenever something closes it */

static enum provider_kind kind_aside(enum provider_kind k)
{
        return k == provider_kind_ZFS ? provider_kind_ZFS_THIN : k;
}

void aside_of(const struct dev *d, const char *id, struct dev *ret)
{
        *ret = (struct dev){ .rsc_name = d->rsc_name,
                .uuid = d->uuid,
                .vlm_uuid = d->vlm_uuid,
                .volume_number = d->volume_number,
                .pool = d->pool,
                .kind = kind_aside(d->kind),
                .place = d->place,
                .backing_id = id };
}

int aside_restore(const struct dev *snap, uint64_t kib, const struct dev *aside, struct trouble *t)
{
        struct dev src = *snap;
        src.size_kib = kib;
        return provider_by_kind(aside->kind)->restore(&src, aside, kib, t);
}

int aside_attach(const struct dev *aside, struct arena *a, struct dev *ret, struct trouble *t)
{
        const struct provider *p = provider_by_kind(aside->kind);
        *ret = *aside;
        int err = p->attach(aside, t);
        if (err == 0) err = p->probe(ret, a, t);
        if (err != 0 || ret->device_path != NULL) return err;
        return trouble_errno(
                t, ENODEV, "The device of %s/%s cannot be opened", aside->place, aside->backing_id);
}

int aside_remove(const struct dev *aside, struct trouble *t)
{
        static const struct timespec pause = { .tv_nsec = 300 * 1000000L };
        const struct provider *p = provider_by_kind(aside->kind);
        int err = E_BUSY;
        for (unsigned i = 0; err == E_BUSY && i < REMOVE_TRIES; i++) {
                if (i > 0) (void)nanosleep(&pause, NULL);
                err = p->detach(aside, t);
                if (err == 0) err = p->remove(aside, t);
        }
        return err;
}
