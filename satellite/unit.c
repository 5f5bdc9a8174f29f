#include "satellite/unit.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "satellite/run.h"
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
        u->want_arena.limit_bytes = u->dev_arena.limit_bytes = UNIT_ARENA_BYTES;
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
        buf_done(&u->row);
        free(u->troubles);
        free(u->name);
        free(u);
}

static bool was_done(const struct unit *u, const char *uuid)
{
        for (uint32_t i = 0; i < u->gone_n; i++)
                if (u->gone_done[i] && strcasecmp(u->gone[i].uuid, uuid) == 0) return true;
        return false;
}

int unit_set_wanted(struct unit *u, const struct sat_rsc *want, const struct sat_gone *gone, uint32_t gone_n)
{
        struct arena a = { .limit_bytes = UNIT_ARENA_BYTES };
        struct sat_rsc *copy = NULL;
        int err = 0;
        if (want != NULL) {
                copy = arena_new(&a, struct sat_rsc);
                err = obj_copy(&sat_rsc_type, want, &a, copy);
        }
        struct sat_gone *copies = arena_array(&a, struct sat_gone, gone_n);
        bool *done = arena_array(&a, bool, gone_n);
        if (gone_n > 0 && (copies == NULL || done == NULL)) err = E_TOO_LARGE;
        for (uint32_t i = 0; err == 0 && i < gone_n; i++) {
                err = obj_copy(&sat_gone_type, &gone[i], &a, &copies[i]);
                if (err == 0) done[i] = was_done(u, gone[i].uuid);
        }
        if (err != 0) {
                arena_done(&a);
                return err;
        }
        arena_done(&u->want_arena);
        u->want_arena = a;
        u->want = copy;
        u->gone = copies;
        u->gone_done = done;
        u->gone_n = gone_n;
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

void unit_set_troubles(struct unit *u, const struct trouble *troubles, uint32_t n)
{
        struct trouble *copy = n == 0 ? NULL : xmemdup(troubles, n * sizeof *troubles);
        free(u->troubles);
        u->troubles = copy;
        u->troubles_n = n;
}

bool unit_wants_dev(const struct unit *u, const struct dev *d)
{
        if (u->want == NULL || d->uuid == NULL || strcasecmp(u->want->uuid, d->uuid) != 0) return false;
        for (uint32_t i = 0; i < u->want->volumes_n; i++)
                if (u->want->volumes[i].volume_number == d->volume_number)
                        return plan_is_backed(u->want, &u->want->volumes[i]) &&
                               dev_is_volume(d, u->want->volumes[i].uuid);
        return false;
}

bool unit_is_void(const struct unit *u)
{
        return u->want == NULL && u->gone_n == 0 && u->devs_n == 0 && !u->running;
}

uint64_t unit_revision(const struct unit *u)
{
        uint64_t revision = u->want == NULL ? 0 : u->want->revision;
        for (uint32_t i = 0; u->want == NULL && i < u->gone_n; i++)
                revision = MAX(revision, u->gone[i].revision);
        return revision;
}
