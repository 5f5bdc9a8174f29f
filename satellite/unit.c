#include "satellite/unit.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "satellite/base/wanted.h"
#include "satellite/run.h"
#include "satellite/run_layers.h"
#include "wire/codec/codec.h"

#define UNIT_ARENA_BYTES ((size_t)64 << 20)

static uint32_t bucket_of(const char *name)
{
        uint32_t h = 2166136261U;
        for (; *name != '\0'; name++) h = (h ^ (uint32_t)toupper((unsigned char)*name)) * 16777619U;
        return h % UNIT_BUCKETS;
}

void unit_table_init(struct unit_table *t)
{
        t->n = 0;
        for (uint32_t i = 0; i < UNIT_BUCKETS; i++) list_init(&t->buckets[i]);
}

void unit_table_done(struct unit_table *t)
{
        struct unit *u;
        UNIT_FOREACH(u, t) unit_free(t, u);
}

struct unit *unit_find(const struct unit_table *t, const char *name)
{
        const struct list *head = &t->buckets[bucket_of(name)];
        LIST_FOREACH(i, head)
        {
                struct unit *u = container_of(i, struct unit, chain);
                if (strcasecmp(u->name, name) == 0) return u;
        }
        return NULL;
}

struct unit *unit_get(struct unit_table *t, const char *name)
{
        struct unit *u = unit_find(t, name);
        if (u != NULL) return u;
        u = xnew(struct unit);
        u->name = xstrdup(name);
        u->state = sat_step_state_PENDING;
        u->want_arena.limit_bytes = u->dev_arena.limit_bytes = u->whole_arena.limit_bytes = UNIT_ARENA_BYTES;
        list_init(&u->ready);
        list_push_back(&t->buckets[bucket_of(name)], &u->chain);
        t->n++;
        return u;
}

void unit_free(struct unit_table *t, struct unit *u)
{
        assert(!u->running);
        list_remove(&u->chain);
        list_remove(&u->ready);
        t->n--;
        arena_done(&u->want_arena);
        arena_done(&u->dev_arena);
        arena_done(&u->whole_arena);
        buf_done(&u->row);
        free(u->troubles);
        free(u->alone);
        for (unsigned k = 0; k < ASIDE_N; k++) free(u->aside[k].list);
        free(u->held);
        free(u->given_up);
        free(u->name);
        free(u);
}

static bool was_done(const struct unit *u, const char *uuid)
{
        for (uint32_t i = 0; i < u->gone_n; i++)
                if (u->gone_done[i] && strcasecmp(u->gone[i].uuid, uuid) == 0) return true;
        return false;
}

/* The copies of a wish, in one arena. */
struct copies {
        struct arena a;
        struct sat_rsc *want;
        struct sat_gone *gone;
        bool *done;
        struct sat_snap *snaps;
};

static int copy_wish(const struct unit *u, const struct unit_wish *w, struct copies *c)
{
        int err = 0;
        if (w->want != NULL) {
                c->want = arena_new(&c->a, struct sat_rsc);
                err = obj_copy(&sat_rsc_type, w->want, &c->a, c->want);
        }
        c->gone = arena_array(&c->a, struct sat_gone, w->gone_n);
        c->done = arena_array(&c->a, bool, w->gone_n);
        c->snaps = arena_array(&c->a, struct sat_snap, w->snaps_n);
        if (w->gone_n > 0 && (c->gone == NULL || c->done == NULL)) return E_TOO_LARGE;
        if (w->snaps_n > 0 && c->snaps == NULL) return E_TOO_LARGE;
        for (uint32_t i = 0; err == 0 && i < w->gone_n; i++) {
                err = obj_copy(&sat_gone_type, &w->gone[i], &c->a, &c->gone[i]);
                if (err == 0) c->done[i] = was_done(u, w->gone[i].uuid);
        }
        for (uint32_t i = 0; err == 0 && i < w->snaps_n; i++)
                err = obj_copy(&sat_snap_type, &w->snaps[i], &c->a, &c->snaps[i]);
        return err;
}

int unit_set_wanted(struct unit *u, const struct unit_wish *w)
{
        struct copies c = { .a.limit_bytes = UNIT_ARENA_BYTES };
        int err = copy_wish(u, w, &c);
        if (err != 0) {
                arena_done(&c.a);
                return err;
        }
        arena_done(&u->want_arena);
        u->want_arena = c.a;
        u->want = c.want;
        u->gone = c.gone;
        u->gone_done = c.done;
        u->gone_n = w->gone_n;
        u->snaps = c.snaps;
        u->snaps_n = w->snaps_n;
        u->dropped = false;
        return 0;
}

void unit_set_devs(struct unit *u, const struct dev *devs, uint32_t n)
{
        struct arena a = { .limit_bytes = UNIT_ARENA_BYTES };
        struct dev *copies = arena_alloc(&a, n * sizeof *copies + 1);
        uint64_t *seen = arena_alloc(&a, n * sizeof *seen + 1);
        for (uint32_t i = 0; i < n; i++) dev_copy(&a, &devs[i], &copies[i]);
        arena_done(&u->dev_arena);
        u->dev_arena = a;
        u->devs = copies;
        u->seen = seen;
        u->devs_n = n;
}

void unit_set_wholes(struct unit *u, const struct layer_whole *wholes, uint32_t n)
{
        struct arena a = { .limit_bytes = UNIT_ARENA_BYTES };
        struct layer_whole *copies;
        wholes_copy(&a, wholes, n, &copies);
        arena_done(&u->whole_arena);
        u->whole_arena = a;
        u->wholes = copies;
        u->wholes_n = copies == NULL ? 0 : n;
}

void unit_set_troubles(struct unit *u, const struct trouble *troubles, uint32_t n)
{
        struct trouble *copy = n == 0 ? NULL : xmemdup(troubles, n * sizeof *troubles);
        free(u->troubles);
        u->troubles = copy;
        u->troubles_n = n;
}

bool unit_set_aside(struct unit *u, enum aside_kind kind, const struct trouble *troubles, uint32_t n)
{
        struct aside *at = &u->aside[kind];
        bool same = at->n == n;
        for (uint32_t i = 0; same && i < n; i++)
                same = at->list[i].volume == troubles[i].volume &&
                       strcmp(at->list[i].message, troubles[i].message) == 0 &&
                       strcmp(at->list[i].cause, troubles[i].cause) == 0;
        if (same) return false;
        struct trouble *copy = n == 0 ? NULL : xmemdup(troubles, n * sizeof *troubles);
        free(at->list);
        *at = (struct aside){ copy, n };
        return true;
}

bool unit_wants_dev(const struct unit *u, const struct dev *d)
{
        if (u->want == NULL || d->uuid == NULL || strcasecmp(u->want->uuid, d->uuid) != 0) return false;
        for (uint32_t i = 0; i < u->want->volumes_n; i++)
                if (u->want->volumes[i].volume_number == d->volume_number)
                        return wanted_is_backed(u->want, &u->want->volumes[i]) &&
                               dev_is_volume(d, u->want->volumes[i].uuid);
        for (uint32_t i = 0; i < u->want->extras_n; i++)
                if (u->want->extras[i].volume_number == d->volume_number)
                        return wanted_is_backed(u->want, &u->want->extras[i]) &&
                               dev_is_volume(d, u->want->extras[i].uuid);
        return false;
}

bool unit_wants_snap(const struct unit *u, const struct dev *d)
{
        char id[BACKING_ID_SIZE];
        for (uint32_t i = 0; i < u->snaps_n; i++) {
                const struct sat_snap *s = &u->snaps[i];
                for (uint32_t k = 0; uuid_same(s->uuid, d->uuid) && k < s->volumes_n; k++)
                        if (backing_id_of(u->name, &s->volumes[k], id) == 0 && strcmp(id, d->backing_id) == 0)
                                return true; /* and not what was made beside it, to ship it */
        }
        return false;
}

bool unit_is_void(const struct unit *u)
{
        return u->want == NULL && u->gone_n == 0 && u->snaps_n == 0 && u->devs_n == 0 && !u->running;
}

uint64_t unit_revision(const struct unit *u)
{
        uint64_t revision = u->want == NULL ? 0 : u->want->revision;
        for (uint32_t i = 0; u->want == NULL && i < u->gone_n; i++)
                revision = MAX(revision, u->gone[i].revision);
        return revision;
}
