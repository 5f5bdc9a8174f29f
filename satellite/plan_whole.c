/* Steps for layers of whole resources; the rules are in satellite/layer/layer.h. */
#include <string.h>

#include "satellite/base/wanted.h"
#include "satellite/plan_internal.h"
#include "wire/codec/codec.h"

const struct layer_whole *plan_whole(const struct plan_input *in, enum layer_type type)
{
        for (uint32_t i = 0; i < in->wholes_n; i++)
                if (in->wholes[i].type == type) return &in->wholes[i];
        return NULL;
}

bool plan_is_active(const struct plan_input *in)
{
        return in->want != NULL &&
               (!HAS(in->want, sat_rsc, flags) || (in->want->flags & rsc_flag_INACTIVE) == 0);
}

bool plan_whole_is_of(const struct layer_whole *w, const char *uuid, const struct dev *devs, uint32_t devs_n)
{
        if (w->uuid != NULL) return uuid_same(w->uuid, uuid);
        for (uint32_t i = 0; i < devs_n; i++) {
                const struct layer_dev *l = dev_layer(&devs[i], w->type);
                if (l != NULL && (l->open || l->made) && uuid_same(devs[i].uuid, uuid)) return true;
        }
        return false;
}

static bool is_of(const struct plan_input *in, const struct layer_whole *w, const char *uuid)
{
        return plan_whole_is_of(w, uuid, in->devs, in->devs_n);
}

static struct step *add_join(struct planner *p, enum step_kind kind, enum layer_type type)
{
        const struct dev none = {
                .rsc_name = p->in->rsc_name, .kind = provider_kind_DISKLESS, .place = "", .backing_id = ""
        };
        struct step *s = plan_add_step(p, kind, GROUP_WHOLE, &none);
        s->whole = type;
        return s;
}

/* Is the volume named before in the list? */
static bool is_again(const struct sat_rsc *r, uint32_t at)
{
        for (uint32_t i = 0; i < at; i++)
                if (r->volumes[i].volume_number == r->volumes[at].volume_number) return true;
        return false;
}

/* The device of a wanted volume that has the layer's device already. */
static const struct dev *open_dev(const struct plan_input *in, const struct sat_vlm *v, enum layer_type type)
{
        for (uint32_t i = 0; i < in->devs_n; i++) {
                const struct layer_dev *l = dev_layer(&in->devs[i], type);
                if (l != NULL && l->open && plan_is_its(in, &in->devs[i], v)) return &in->devs[i];
        }
        return NULL;
}

/* What is known of its device; NULL: nothing. */
static const struct dev *known_dev(const struct plan_input *in, const struct sat_vlm *v)
{
        for (uint32_t i = 0; i < in->devs_n; i++)
                if (plan_is_its(in, &in->devs[i], v)) return &in->devs[i];
        return NULL;
}

static const struct dev *rising_dev(const struct planner *p, const struct sat_vlm *v)
{
        for (uint32_t i = 0; i < p->rises_n; i++)
                if (p->rises[i].v == v) return p->rises[i].d;
        return NULL;
}

/* The wanted volumes that take part: all, or (only_open) those that have it already. Where disks are skipped: all. */
static void put_seats(struct planner *p, struct step *s, bool only_open)
{
        const struct sat_rsc *r = p->in->want;
        struct layer_seat *seats = arena_alloc(p->arena, (r->volumes_n + 1) * sizeof *seats);
        bool skips = wanted_skips_disk(r);
        for (uint32_t i = 0; i < r->volumes_n; i++) {
                const struct sat_vlm *v = &r->volumes[i];
                const struct dev *d = NULL;
                if (is_again(r, i)) continue;
                if (wanted_is_backed(r, v)) {
                        d = skips       ? known_dev(p->in, v)
                            : only_open ? open_dev(p->in, v, s->whole)
                                        : rising_dev(p, v);
                        if (d == NULL && !skips) continue;
                }
                seats[s->seats_n++] = (struct layer_seat){ .vlm = v, .dev = d };
        }
        s->seats = seats;
        s->want = r;
}

void plan_settle(struct planner *p, enum layer_type type)
{
        const struct layer_whole *w = plan_whole(p->in, type);
        bool todo = w == NULL || !w->looked || !w->settled;
        for (uint32_t i = 0; i < p->rises_n && !todo; i++) {
                const struct layer_dev *l = dev_layer(p->rises[i].d, type);
                todo = l != NULL && !l->open;
        }
        if (todo) put_seats(p, add_join(p, STEP_SETTLE, type), false);
}

void plan_settle_skipping(struct planner *p)
{
        if (!plan_whole_foreign(p, layer_type_DRBD)) plan_settle(p, layer_type_DRBD);
}

void plan_unsettle(struct planner *p, enum layer_type type)
{
        const struct plan_input *in = p->in;
        const struct layer_whole *w = plan_whole(in, type);
        struct step *s = add_join(p, STEP_DISSOLVE, type);
        if (w == NULL || !plan_is_active(in) || !is_of(in, w, in->want->uuid)) return;
        put_seats(p, s, true);
        if (s->seats_n > 0) s->kind = STEP_SETTLE;
}

static bool is_gone(const struct plan_input *in, const struct layer_whole *w)
{
        if (!w->looked || !w->exists) return false;
        if (in->want != NULL && is_of(in, w, in->want->uuid)) return false;
        for (uint32_t i = 0; i < in->gone_n; i++)
                if (is_of(in, w, in->gone[i].uuid)) return true;
        return false;
}

/* Does a device that goes have it, so that plan_fall() sees to it? */
static bool falls(const struct planner *p, enum layer_type type)
{
        for (uint32_t k = 0; k < p->falls_n; k++) {
                const struct layer_dev *l = dev_layer(p->falls[k].d, type);
                if (l != NULL && l->open) return true;
        }
        return false;
}

void plan_whole_down(struct planner *p, bool gone)
{
        const struct plan_input *in = p->in;
        for (uint32_t i = 0; i < in->wholes_n; i++) {
                const struct layer_whole *w = &in->wholes[i];
                bool down = gone ? is_gone(in, w) : w->looked && w->exists && is_of(in, w, in->want->uuid);
                if (down && !falls(p, w->type)) (void)add_join(p, STEP_DISSOLVE, w->type);
        }
}

bool plan_whole_foreign(struct planner *p, enum layer_type type)
{
        const struct layer_whole *w = plan_whole(p->in, type);
        if (w == NULL || !w->looked || !w->exists || is_of(p->in, w, p->in->want->uuid) || is_gone(p->in, w))
                return false;
        struct trouble *t = plan_add_trouble(p, TROUBLE_NO_VOLUME);
        trouble_set(t, E_EXISTS, TROUBLE_EXISTS,
                "Resource %s: its layer %s is there already, for something else.", p->in->rsc_name,
                enum_name(&layer_type_enum, type));
        if (w->uuid != NULL)
                trouble_cause(t,
                        "It was made for a resource with uuid %s, which the cluster has not deleted.",
                        w->uuid);
        else trouble_cause(t, "Somebody else has made it by that name.");
        trouble_fix(t, "Nothing was done to it. Take it down by hand if it is not needed; the satellite "
                       "tries again by itself.");
        return true;
}
