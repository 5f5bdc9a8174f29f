/* The set of what changed for one satellite, see sat_wanted.h. */
#include <stdlib.h>
#include <string.h>

#include "controller/sat/sat_wanted.h"

void sat_dirty_done(struct sat_dirty *d)
{
        for (uint32_t i = 0; i < d->names_n; i++) {
                free(d->names[i].rsc_name);
                free(d->names[i].uuid);
        }
        free(d->names);
        *d = (struct sat_dirty){ 0 };
}

bool sat_dirty_any(const struct sat_dirty *d) { return d->all || d->head || d->files || d->names_n > 0; }

static bool same(const char *a, const char *b) { return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0; }

static void add_name(struct sat_dirty *d, const char *rsc_name, const char *uuid)
{
        for (uint32_t i = 0; i < d->names_n; i++)
                if (same(d->names[i].rsc_name, rsc_name) && same(d->names[i].uuid, uuid)) return;
        if (d->names_n == SAT_DIRTY_MAX) {
                sat_dirty_done(d);
                d->all = true;
                return;
        }
        if (d->names_n == d->names_cap) {
                d->names_cap = d->names_cap == 0 ? 8 : d->names_cap * 2;
                d->names = xrealloc(d->names, d->names_cap * sizeof *d->names);
        }
        d->names[d->names_n++] = (struct sat_dirty_name){ .rsc_name = xstrdup(rsc_name),
                .uuid = uuid == NULL ? NULL : xstrdup(uuid) };
}

void sat_dirty_add(struct sat_dirty *d, const struct sat_change *c)
{
        if (d->all) return;
        switch (c->kind) {
        case SAT_CHANGE_HEAD: d->head = true; break;
        case SAT_CHANGE_FILES: d->files = true; break;
        case SAT_CHANGE_RSC: add_name(d, c->rsc_name, NULL); break;
        case SAT_CHANGE_TOMBSTONE: add_name(d, c->rsc_name, c->uuid); break;
        case SAT_CHANGE_ALL:
        case SAT_CHANGE_KIND_N:
                sat_dirty_done(d);
                d->all = true;
                break;
        }
}

void sat_dirty_move(struct sat_dirty *d, struct sat_dirty *from)
{
        if (from->all) sat_dirty_add(d, &(struct sat_change){ .kind = SAT_CHANGE_ALL });
        if (from->files) sat_dirty_add(d, &(struct sat_change){ .kind = SAT_CHANGE_FILES });
        if (from->head) sat_dirty_add(d, &(struct sat_change){ .kind = SAT_CHANGE_HEAD });
        for (uint32_t i = 0; i < from->names_n && !d->all; i++)
                add_name(d, from->names[i].rsc_name, from->names[i].uuid);
        sat_dirty_done(from);
}
