#include "satellite/pool.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "wire/codec/codec.h"

#define POOL_ARENA_BYTES ((size_t)4 << 20)

void pool_set_init(struct pool_set *s)
{
        list_init(&s->pools);
        s->n = 0;
}

void pool_free(struct pool *p)
{
        arena_done(&p->arena);
        buf_done(&p->row);
        free(p);
}

void pool_set_done(struct pool_set *s)
{
        LIST_FOREACH_SAFE(i, n, &s->pools)
        {
                struct pool *p = container_of(i, struct pool, link);
                list_remove(i);
                pool_free(p);
        }
        s->n = 0;
}

static struct pool *pool_find(const struct pool_set *s, const char *name)
{
        LIST_FOREACH(i, &s->pools)
        {
                struct pool *p = container_of(i, struct pool, link);
                if (strcasecmp(p->want.storage_pool_name, name) == 0) return p;
        }
        return NULL;
}

static void find_place(struct pool *p)
{
        const struct provider *prov = provider_by_kind(p->want.provider_kind);
        p->place = NULL;
        p->place_trouble = (struct trouble){ 0 };
        if (prov != NULL) {
                if (prov->place(&p->want.props, &p->arena, &p->place, &p->place_trouble) != 0)
                        p->place = NULL;
                return;
        }
        const char *kind = enum_name(&provider_kind_enum, p->want.provider_kind);
        trouble_set(&p->place_trouble, E_UNSUPPORTED, TROUBLE_NO_PROVIDER, "Storage pool %s cannot be used.",
                p->want.storage_pool_name);
        trouble_cause(&p->place_trouble, "%s is not supported by this version of the satellite.", kind);
        trouble_fix(
                &p->place_trouble, "Use a kind that the node lists as supported, or upgrade the satellite.");
}

/* *ret_changed is set when the place, or why there is none, differs. */
static int set_wanted(struct pool *p, const struct sat_pool *want, bool *ret_changed)
{
        struct arena a = { .limit_bytes = POOL_ARENA_BYTES }, old = p->arena;
        struct sat_pool copy;
        int err = obj_copy(&sat_pool_type, want, &a, &copy);
        if (err != 0) {
                arena_done(&a);
                return err;
        }
        const char *old_place = p->place;
        p->arena = a;
        p->want = copy;
        find_place(p);
        bool same = old_place != NULL && p->place != NULL && strcmp(old_place, p->place) == 0;
        if (!same) {
                p->scanned = p->usable = false;
                *ret_changed = true;
        }
        p->scan_due_ms = p->list_due_ms = 0;
        p->scan_again = p->scanning;
        arena_done(&old);
        return 0;
}

int pool_set_take(
        struct pool_set *s, const struct sat_pool *pools, uint32_t n, bool *ret_removed, bool *ret_changed)
{
        *ret_removed = *ret_changed = false;
        LIST_FOREACH(i, &s->pools) container_of(i, struct pool, link)->gone = true;
        int err = 0;
        for (uint32_t i = 0; err == 0 && i < n; i++) {
                struct pool *p = pool_find(s, pools[i].storage_pool_name);
                if (p != NULL) p->gone = false;
                if (p != NULL && obj_equal(&sat_pool_type, &p->want, &pools[i])) continue;
                if (p == NULL) {
                        p = xnew(struct pool);
                        list_push_back(&s->pools, &p->link);
                        s->n++;
                        err = set_wanted(p, &pools[i], ret_changed);
                        p->gone = err != 0;
                } else err = set_wanted(p, &pools[i], ret_changed);
        }
        LIST_FOREACH_SAFE(i, next, &s->pools)
        {
                struct pool *p = container_of(i, struct pool, link);
                if (!p->gone) continue;
                list_remove(i);
                s->n--;
                *ret_removed = true;
                if (!p->scanning) pool_free(p); /* else when the scan has ended */
        }
        return err;
}

int pool_set_plan(const struct pool_set *s, struct arena *a, struct plan_pool **ret, uint32_t *ret_n)
{
        *ret_n = 0;
        *ret = arena_array(a, struct plan_pool, s->n);
        if (*ret == NULL && s->n > 0) return E_TOO_LARGE;
        LIST_FOREACH(i, &s->pools)
        {
                const struct pool *p = container_of(i, struct pool, link);
                (*ret)[(*ret_n)++] = (struct plan_pool){
                        .name = p->want.storage_pool_name, .kind = p->want.provider_kind, .place = p->place
                };
        }
        return 0;
}
