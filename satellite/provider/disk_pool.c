#include "satellite/provider/disk_pool.h"

#include <string.h>

#include "satellite/base/inject.h"
#include "satellite/provider/provider.h"
#include "wire/codec/codec.h"

static int refused(struct trouble *t, const char *device, const char *why)
{
        trouble_set(t, E_INVALID, TROUBLE_POOL, "Disk %s cannot be used for a pool: %s.", device, why);
        trouble_cause(t, "Only whole disks that are empty and that nobody uses are taken.");
        trouble_fix(t, "Choose another one ('physical-storage list'), or clear it by hand ('wipefs -a') when "
                       "nothing on "
                       "it is needed any more.");
        return E_INVALID;
}

int disk_job_look(struct disk_job *j, bool zfs_begun, struct trouble *t)
{
        const struct sat_disk_pool *w = j->want;
        for (uint32_t i = 0; i < w->devices_n; i++) {
                char real[DISK_NAME_MAX];
                if (!j->ours[i]) {
                        const char *why = disk_hindrance(
                                j->env->sys, j->env->dev, j->env->proc, w->devices[i], zfs_begun, real);
                        if (why != NULL) return refused(t, w->devices[i], why);
                        j->real[i] = arena_strdup(j->arena, real);
                }
                for (uint32_t k = 0; k < i; k++)
                        if (strcmp(j->real[i], j->real[k]) == 0)
                                return refused(t, w->devices[i], "it is named twice");
        }
        return 0;
}

const char *disk_job_words(struct disk_job *j, const char **words, uint32_t n)
{
        const char *text = "";
        for (uint32_t i = 0; i < n; i++) text = arena_printf(j->arena, "%s %s", text, words[i]);
        return text;
}

int disk_job_bad_option(struct trouble *t, const char *program, const struct fail *f)
{
        trouble_set(t, E_INVALID, TROUBLE_POOL, "The options of %s are not accepted.", program);
        trouble_cause(t, "%s.", f->text);
        trouble_fix(t,
                "Leave that option out, or make the pool by hand and register it ('storage-pool create').");
        return E_INVALID;
}

int disk_job_taken(struct trouble *t, const char *what, const char *name)
{
        trouble_set(t, E_EXISTS, TROUBLE_EXISTS, "There is a %s %s already.", what, name);
        trouble_cause(t, "It was not made for this request; nothing was done to it.");
        trouble_fix(t, "Choose another name, or register the one that is there ('storage-pool create').");
        return E_EXISTS;
}

static const struct ways {
        int (*check)(struct disk_job *j, struct trouble *t);
        int (*make)(struct disk_job *j, struct trouble *t);
        bool (*undo)(struct disk_job *j);
} lvm_ways = { disk_pool_lvm_check, disk_pool_lvm_make, disk_pool_lvm_undo },
  zfs_ways = { disk_pool_zfs_check, disk_pool_zfs_make, disk_pool_zfs_undo };

static const struct ways *ways_of(enum provider_kind kind)
{
        if (kind == provider_kind_LVM || kind == provider_kind_LVM_THIN) return &lvm_ways;
        return kind == provider_kind_ZFS || kind == provider_kind_ZFS_THIN ? &zfs_ways : NULL;
}

/* The name, the programs, and how many disks there are. */
static int look_at_request(struct disk_job *j, struct trouble *t)
{
        const struct sat_disk_pool *w = j->want;
        const struct provider *p = provider_by_kind(w->provider_kind);
        const char *why = p != NULL && p->missing != NULL && !j->env->fakes ? p->missing(j->arena) : NULL,
                   *place;
        struct strmap props = { 0 };
        if (p == NULL || ways_of(w->provider_kind) == NULL)
                return trouble_set(t, E_UNSUPPORTED, TROUBLE_NO_PROVIDER,
                        "Pools of kind %s are not made out of disks.",
                        enum_name(&provider_kind_enum, w->provider_kind));
        if (why != NULL) {
                trouble_set(t, E_UNSUPPORTED, TROUBLE_NO_PROVIDER, "This node cannot have pools of kind %s.",
                        enum_name(&provider_kind_enum, w->provider_kind));
                trouble_cause(t, "%s", why);
                return E_UNSUPPORTED;
        }
        if (w->devices_n == 0 || w->devices_n > DISK_POOL_DISKS_MAX) {
                trouble_set(
                        t, E_INVALID, TROUBLE_POOL, "A pool is made of 1 to %d disks.", DISK_POOL_DISKS_MAX);
                trouble_fix(t, "Name so many.");
                return E_INVALID;
        }
        strmap_set(&props, "StorDriver/StorPoolName", w->place, j->arena);
        return p->place(&props, j->arena, &place, t);
}

int disk_pool_work(const struct disk_pool_env *env, const struct sat_disk_pool *want, struct trouble *t)
{
        struct arena a = { 0 };
        struct disk_job j = { .env = env, .want = want, .arena = &a };
        j.real = arena_alloc(&a, (want->devices_n + 1) * sizeof *j.real);
        j.ours = arena_alloc(&a, (want->devices_n + 1) * sizeof *j.ours);
        memset(j.ours, 0, (want->devices_n + 1) * sizeof *j.ours);
        int err = look_at_request(&j, t);
        const struct ways *ways = ways_of(want->provider_kind);
        if (err == 0 && want->phase == disk_pool_phase_CHECK) err = ways->check(&j, t);
        else if (err == 0) {
                err = ways->make(&j, t);
                if (err == 0) inject_point(INJECT_DISK_POOL_MADE);
                else if (!ways->undo(&j))
                        trouble_fix(t, "Remove by hand what was begun ('pvs', 'vgs', 'zpool list', 'wipefs' "
                                       "show it), "
                                       "then ask again.");
        }
        arena_done(&a);
        return err;
}
