#include "satellite/run.h"

#include <string.h>

#include "satellite/layer/hold.h"
#include "satellite/run_fill.h"
#include "satellite/run_layers.h"
#include "wire/codec/codec.h"

#define RUN_ARENA_BYTES ((size_t)16 << 20)

static const char *copy_str(struct arena *a, const char *s) { return s == NULL ? NULL : arena_strdup(a, s); }

void dev_copy(struct arena *a, const struct dev *d, struct dev *ret)
{
        *ret = *d;
        memset(ret->extras, 0, sizeof ret->extras); /* of another list; observe_resource() finds them */
        ret->rsc_name = copy_str(a, d->rsc_name);
        ret->uuid = copy_str(a, d->uuid);
        ret->vlm_uuid = copy_str(a, d->vlm_uuid);
        ret->snap_name = copy_str(a, d->snap_name);
        ret->pool = copy_str(a, d->pool);
        ret->place = copy_str(a, d->place);
        ret->backing_id = copy_str(a, d->backing_id);
        ret->device_path = copy_str(a, d->device_path);
        ret->backing_path = copy_str(a, d->backing_path);
        ret->props = NULL;
        layers_copy(a, d, ret);
}

static int copy_wanted(struct run *r, const struct plan_input *in)
{
        int err = 0;
        if (in->want != NULL) {
                struct sat_rsc *want = arena_new(&r->arena, struct sat_rsc);
                err = obj_copy(&sat_rsc_type, in->want, &r->arena, want);
                r->in.want = want;
        }
        struct sat_gone *gone = arena_array(&r->arena, struct sat_gone, in->gone_n);
        if (gone == NULL && in->gone_n > 0) return E_TOO_LARGE;
        for (uint32_t i = 0; err == 0 && i < in->gone_n; i++)
                err = obj_copy(&sat_gone_type, &in->gone[i], &r->arena, &gone[i]);
        r->in.gone = gone;
        r->in.gone_n = in->gone_n;
        struct sat_snap *snaps = arena_array(&r->arena, struct sat_snap, in->snaps_n);
        if (snaps == NULL && in->snaps_n > 0) return E_TOO_LARGE;
        for (uint32_t i = 0; err == 0 && i < in->snaps_n; i++)
                err = obj_copy(&sat_snap_type, &in->snaps[i], &r->arena, &snaps[i]);
        r->in.snaps = snaps;
        r->in.snaps_n = in->snaps_n;
        r->in.held = copy_str(&r->arena, in->held);
        r->in.given_up = copy_str(&r->arena, in->given_up);
        return err;
}

int run_init(struct run *r, const struct plan_input *in)
{
        *r = (struct run){ .arena = { .limit_bytes = RUN_ARENA_BYTES } };
        atomic_init(&r->stop, false);
        struct arena *a = &r->arena;
        r->in.rsc_name = arena_strdup(a, in->rsc_name);
        struct dev *devs = arena_array(a, struct dev, in->devs_n);
        struct plan_pool *pools = arena_array(a, struct plan_pool, in->pools_n);
        if ((devs == NULL && in->devs_n > 0) || (pools == NULL && in->pools_n > 0)) return E_TOO_LARGE;
        for (uint32_t i = 0; i < in->devs_n; i++) dev_copy(a, &in->devs[i], &devs[i]);
        for (uint32_t i = 0; i < in->pools_n; i++)
                pools[i] = (struct plan_pool){ .name = arena_strdup(a, in->pools[i].name),
                        .kind = in->pools[i].kind,
                        .place = copy_str(a, in->pools[i].place) };
        r->in.devs = devs;
        r->in.devs_n = in->devs_n;
        r->in.pools = pools;
        r->in.pools_n = in->pools_n;
        r->in.wholes = NULL; /* looked at anew */
        r->in.wholes_n = 0;
        return copy_wanted(r, in);
}

void run_done(struct run *r) { arena_done(&r->arena); }

static int do_step(const struct step *s, struct trouble *t)
{
        const struct provider *prov = provider_by_kind(s->dev.kind);
        switch (s->kind) {
        case STEP_ADOPT: return prov->adopt(&s->dev, t);
        case STEP_CREATE: return prov->create(&s->dev, s->size_kib, t);
        case STEP_ATTACH: return prov->attach(&s->dev, t);
        case STEP_GROW:
        case STEP_SHRINK: return prov->resize(&s->dev, s->size_kib, t);
        case STEP_REFRESH: return prov->refresh(&s->dev, t);
        case STEP_DETACH: return prov->detach(&s->dev, t);
        case STEP_REMOVE: return prov->remove(&s->dev, t);
        case STEP_MAKE:
        case STEP_OPEN:
        case STEP_STRETCH:
        case STEP_CLOSE:
        case STEP_ERASE: return run_layer_step(s, t);
        case STEP_FILL: return run_fill_step(s, t);
        case STEP_FORMAT: return run_format_step(s, t);
        case STEP_SETTLE:
        case STEP_DISSOLVE: return run_whole_step(s, t);
        case STEP_HOLD: return hold_set(s->want, true, t);
        case STEP_LET_GO: return hold_set(s->want, false, t);
        case STEP_SNAPSHOT: return prov->snapshot(s->src, &s->dev, s->quiet, t);
        case STEP_RESTORE: return prov->restore(s->src, &s->dev, s->size_kib, t);
        case STEP_REPLACE: return prov->replace(s->old, s->src, &s->dev, s->size_kib, t);
        case STEP_KEEP: return prov->keep(s->old, &s->dev, t);
        case STEP_N: break;
        }
        return E_INVALID;
}

/* Does the step make its device? */
static bool makes(enum step_kind k)
{
        return k == STEP_CREATE || k == STEP_SNAPSHOT || k == STEP_RESTORE || k == STEP_REPLACE;
}

/* Does it give its device another mark, and leaves what is in it? */
static bool marks(enum step_kind k) { return k == STEP_ADOPT || k == STEP_KEEP; }

static void note_held(struct run *r, const struct step *s)
{
        if (s->kind == STEP_HOLD) r->in.held = s->saga;
        if (s->kind == STEP_LET_GO) r->in.held = NULL;
}

/* What later steps of the group must know of a step that was done. */
static void note_done(struct plan *p, uint32_t done)
{
        const struct step *s = &p->steps[done];
        if (s->kind == STEP_MAKE) s->dev.layers[s->layer].made = true; /* shared by the steps of the volume */
        for (uint32_t i = done + 1; i < p->steps_n; i++) {
                struct dev *d = &p->steps[i].dev;
                if (!dev_same_place(d, s->dev.kind, s->dev.place, s->dev.backing_id)) continue;
                if (makes(s->kind)) d->made = true;
                if (marks(s->kind)) d->vlm_uuid = s->dev.vlm_uuid;
                if (s->kind == STEP_CREATE || s->kind == STEP_GROW || s->kind == STEP_SHRINK)
                        d->last_size_kib = d->size_kib = s->size_kib;
        }
}

/* What was made in this round belongs to us, also where the file system keeps no marks. */
static int remember_made(struct run *r, const struct plan *p, const bool *done)
{
        struct dev *devs = arena_array(&r->arena, struct dev, r->in.devs_n);
        if (devs == NULL && r->in.devs_n > 0) return E_TOO_LARGE;
        for (uint32_t k = 0; k < r->in.devs_n; k++) {
                devs[k] = r->in.devs[k];
                for (uint32_t i = 0; i < p->steps_n; i++) {
                        const struct step *s = &p->steps[i];
                        bool owned = makes(s->kind) || marks(s->kind);
                        bool content = s->kind == STEP_MAKE || s->kind == STEP_FORMAT || s->kind == STEP_FILL;
                        if (!done[i] || (!owned && !content)) continue;
                        if (!dev_same_place(&devs[k], s->dev.kind, s->dev.place, s->dev.backing_id)) continue;
                        if (makes(s->kind)) devs[k].formatted = s->kind != STEP_CREATE;
                        if (makes(s->kind)) devs[k].filled = false;
                        if (s->kind == STEP_FORMAT || s->kind == STEP_FILL) devs[k].formatted = true;
                        if (s->kind == STEP_FILL) devs[k].filled = true;
                        layers_remember(devs[k].layers, devs[k].layers_n, s->dev.layers, s->dev.layers_n);
                        if (!owned) continue;
                        devs[k].vlm_uuid = s->dev.vlm_uuid;
                        devs[k].uuid = s->dev.uuid;
                        devs[k].rsc_name = s->dev.rsc_name;
                        devs[k].snap_name = s->dev.snap_name;
                        devs[k].volume_number = s->dev.volume_number;
                        devs[k].made = true;
                }
        }
        r->in.devs = devs;
        return 0;
}

static bool is_join(const struct step *s) { return s->kind == STEP_SETTLE || s->kind == STEP_DISSOLVE; }

static bool is_of_volumes(const struct step *s) { return s->group <= UINT16_MAX || is_join(s); }

/* Has a step failed, or been left out, that this one must come after? */
static bool waits_in_vain(const struct plan *p, const bool *undone, uint32_t step)
{
        const struct step *s = &p->steps[step];
        for (uint32_t i = 0; i < step; i++) {
                const struct step *before = &p->steps[i];
                if (!undone[i]) continue;
                if (before->group == s->group) return true;
                if (is_of_volumes(before) && is_of_volumes(s) && (is_join(before) || is_join(s))) return true;
        }
        return false;
}

static bool touches_devices(const struct step *s) { return s->kind != STEP_HOLD && s->kind != STEP_LET_GO; }

/* Returns the number of troubles written to r->troubles. */
static uint32_t do_steps(struct run *r, struct plan *p)
{
        bool *undone = arena_array(&r->arena, bool, p->steps_n),
             *done = arena_array(&r->arena, bool, p->steps_n);
        uint32_t n = 0;
        bool touched = false;
        if (undone == NULL || done == NULL) {
                r->err = E_TOO_LARGE;
                return 0;
        }
        for (uint32_t i = 0; i < p->steps_n; i++) {
                if (atomic_load(&r->stop)) {
                        r->more = true;
                        break;
                }
                undone[i] = waits_in_vain(p, undone, i);
                if (undone[i]) continue;
                struct trouble *t = &r->troubles[n];
                *t = (struct trouble){ .volume = TROUBLE_NO_VOLUME };
                p->steps[i].seen = !touched;
                touched |= touches_devices(&p->steps[i]);
                int err = do_step(&p->steps[i], t);
                if (err == E_PENDING) { /* what comes after it waits with it */
                        r->waits = undone[i] = true;
                        continue;
                }
                if (err == 0) {
                        r->steps_done++;
                        r->filled = r->filled || p->steps[i].kind == STEP_FILL;
                        done[i] = true;
                        note_done(p, i);
                        note_held(r, &p->steps[i]);
                        continue;
                }
                if (t->err == 0)
                        trouble_set(t, err, TROUBLE_UNKNOWN, "%s: %s.", step_name(p->steps[i].kind),
                                err_text(err));
                if (!is_join(&p->steps[i])) t->volume = (int64_t)extra_volume(p->steps[i].dev.volume_number);
                if (p->steps[i].dev.snap_name != NULL) trouble_of_snapshot(t, p->steps[i].dev.snap_name);
                if (r->err == 0) r->err = err;
                undone[i] = true;
                n++;
        }
        int err = remember_made(r, p, done);
        if (err != 0) r->err = err;
        return n;
}

/* Does a step change what can be seen of devices? Held I/O must not wait for a look at them. */
static bool touches(const struct plan *p)
{
        for (uint32_t i = 0; i < p->steps_n; i++)
                if (touches_devices(&p->steps[i])) return true;
        return false;
}

/* Held I/O does not wait for a look at devices either before it goes on. Where that fails the plan has it once more. */
static void let_go_first(struct run *r)
{
        struct trouble later;
        if (!plan_lets_go(&r->in) || hold_set(r->in.want, false, &later) != 0) return;
        r->in.held = NULL;
        r->steps_done++;
}

void run_resource(struct run *r)
{
        struct plan plan, after;
        let_go_first(r);
        run_fill_stop(&r->in);
        r->err = observe_resource(&r->in, &r->arena);
        if (r->err == 0) r->err = plan_resource(&r->in, &r->arena, &plan);
        if (r->err != 0) return;
        after = plan;
        uint32_t failures = 0;
        if (plan.steps_n > 0) {
                r->troubles = arena_array(&r->arena, struct trouble, plan.steps_n);
                if (r->troubles == NULL) {
                        r->err = E_TOO_LARGE;
                        return;
                }
                failures = do_steps(r, &plan);
                r->failed_n = failures;
                int err = touches(&plan) ? observe_resource(&r->in, &r->arena) : 0;
                if (err == 0) err = plan_resource(&r->in, &r->arena, &after);
                if (err != 0) {
                        r->err = err;
                        r->troubles_n = failures;
                        return;
                }
                if (after.steps_n > 0 || r->filled)
                        r->more = true; /* filled: to be on disk before it counts as done */
        }
        struct trouble *all = arena_array(&r->arena, struct trouble, failures + after.troubles_n);
        if (all == NULL && failures + after.troubles_n > 0) {
                r->err = E_TOO_LARGE;
                return;
        }
        for (uint32_t i = 0; i < failures; i++) all[i] = r->troubles[i];
        for (uint32_t i = 0; i < after.troubles_n; i++) {
                all[failures + i] = after.troubles[i];
                if (r->err == 0 && after.troubles[i].code != TROUBLE_WARN_STORAGE)
                        r->err = after.troubles[i].err;
        }
        r->troubles = all;
        r->troubles_n = failures + after.troubles_n;
        r->orphan = after.orphan;
}
