#include "satellite/ship/ship_dev.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "satellite/provider/aside.h"

bool ship_dev_can(const struct provider *p)
{
        if (p->read != NULL && p->receive != NULL) return true;
        return p->snapshot != NULL && p->restore != NULL && !p->for_clones;
}

static void name_aside(
        const struct ship_volume *v, const struct dev *d, char use, char id[SHIP_ASIDE_SIZE], struct dev *ret)
{
        snprintf(id, SHIP_ASIDE_SIZE, "ship_%.13s_%05llu_%c", v->work->ship->uuid,
                (unsigned long long)v->vlm->volume_number, use);
        aside_of(d, id, ret);
}

static int need_there(
        const struct ship_volume *v, struct dev *src, struct arena *a, bool *ret_there, struct trouble *t)
{
        int err = v->provider->probe(src, a, t);
        *ret_there = err == 0 && src->exists && !src->raw;
        return err;
}

int ship_source_size(const struct ship_volume *v, const struct dev *d, uint64_t *ret_kib, struct trouble *t)
{
        struct arena a = { 0 };
        struct dev src = *d;
        bool there;
        int err = need_there(v, &src, &a, &there, t);
        if (err == 0 && !there) {
                err = trouble_set(
                        t, E_NOT_FOUND, TROUBLE_UNKNOWN, "Snapshot %s/%s is gone.", d->place, d->backing_id);
                trouble_fix(t, "Delete the snapshot, and ship another one, with '--full'.");
        }
        *ret_kib = src.size_kib;
        arena_done(&a);
        return err;
}

/* The device of a volume that was made just now. */
static int open_aside(const struct dev *temp, int flags, int *ret_fd, struct trouble *t)
{
        struct arena a = { 0 };
        struct dev up;
        int err = aside_attach(temp, &a, &up, t);
        if (err == 0) {
                *ret_fd = open(up.device_path, flags | O_CLOEXEC);
                if (*ret_fd < 0)
                        err = trouble_errno(t, errno, "The device of %s/%s cannot be opened", temp->place,
                                temp->backing_id);
        }
        arena_done(&a);
        return err;
}

int ship_source_open(const struct ship_volume *v, const struct dev *d, bool is_base, struct ship_source *ret,
        struct trouble *t)
{
        *ret = (struct ship_source){ .fd = -1 };
        if (v->provider->read != NULL) {
                ret->fd = v->provider->read(d, &ret->kib, t);
                return MIN(ret->fd, 0);
        }
        name_aside(v, d, is_base ? 'b' : 's', ret->id, &ret->temp);
        int err = ship_source_size(v, d, &ret->kib, t);
        if (err == 0) err = aside_remove(&ret->temp, t);
        if (err != 0) return err;
        ret->aside = true;
        err = aside_restore(d, ret->kib, &ret->temp, t);
        if (err == 0) err = open_aside(&ret->temp, O_RDONLY, &ret->fd, t);
        if (err != 0) ship_source_close(ret);
        return err;
}

void ship_source_close(struct ship_source *s)
{
        struct trouble ignored; /* the next attempt takes it away, or the end of its snapshot */
        if (s->fd >= 0) close(s->fd);
        s->fd = -1;
        if (s->aside) (void)aside_remove(&s->temp, &ignored);
        s->aside = false;
}

/* Fills the volume aside. */
static int fill_aside(const struct dev *temp, provider_fill_fn *fill, void *arg, struct trouble *t)
{
        int fd = -1, err = open_aside(temp, O_RDWR, &fd, t);
        if (err != 0) return err;
        err = fill(arg, fd, t);
        if (err == 0 && fsync(fd) != 0)
                err = trouble_errno(t, errno, "What was received cannot be written to %s/%s", temp->place,
                        temp->backing_id);
        close(fd);
        return err;
}

static int receive_aside(struct ship_volume *v, provider_fill_fn *fill, void *arg, struct trouble *t)
{
        struct dev temp;
        char id[SHIP_ASIDE_SIZE];
        struct trouble ignored;
        const struct dev *base = ship_volume_base(v);
        uint64_t kib = 0;
        name_aside(v, &v->dev, 'r', id, &temp);
        const struct provider *p = provider_by_kind(temp.kind);
        int err = base != NULL ? ship_source_size(v, base, &kib, t) : 0;
        if (err == 0) err = aside_remove(&temp, t);
        if (err == 0)
                err = base != NULL ? aside_restore(base, MAX(kib, v->vlm->size_kib), &temp, t)
                                   : p->create(&temp, v->vlm->size_kib, t);
        if (err == 0) err = fill_aside(&temp, fill, arg, t);
        if (err == 0) err = p->detach(&temp, t);
        if (err == 0) err = v->provider->snapshot(&temp, &v->dev, true, t);
        int gone = aside_remove(&temp, err == 0 ? t : &ignored);
        return err != 0 ? err : gone;
}

int ship_receive(struct ship_volume *v, provider_fill_fn *fill, void *arg, struct trouble *t)
{
        struct arena a = { 0 };
        struct dev there = v->dev;
        bool is_there;
        if (v->provider->receive != NULL)
                return v->provider->receive(&v->dev, ship_volume_base(v), v->vlm->size_kib, fill, arg, t);
        int err = need_there(v, &there, &a, &is_there, t);
        if (err == 0 && is_there && !dev_is_owned(&there, &v->dev))
                err = dev_not_ours(
                        t, &v->dev, &there, "What has the name of the snapshot", "mark", "Rename it");
        else if (err == 0 && !is_there) err = receive_aside(v, fill, arg, t);
        arena_done(&a);
        return err;
}
