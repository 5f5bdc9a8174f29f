#include "satellite/layer/hold.h"

#include <strings.h>

#include "satellite/layer/hold_guard.h"

#define LAYERS_MAX 4

static const struct hold_layer *layers[LAYERS_MAX];
static unsigned layers_n;

void hold_register(const struct hold_layer *l)
{
        for (unsigned i = 0; i < layers_n; i++)
                if (layers[i] == l) return;
        assert(layers_n < LAYERS_MAX);
        layers[layers_n++] = l;
}

/* The next layer of the stack, from *at on, that can hold; NULL when there is none. */
static const struct hold_layer *next_layer(const struct sat_rsc *r, unsigned *at)
{
        while (*at < r->layer_stack_n) {
                const char *name = r->layer_stack[(*at)++];
                for (unsigned i = 0; i < layers_n; i++)
                        if (strcasecmp(layers[i]->layer, name) == 0) return layers[i];
        }
        return NULL;
}

bool hold_possible(const struct sat_rsc *r)
{
        unsigned at = 0;
        return next_layer(r, &at) != NULL;
}

/* Each layer that can: all of them when they let go, up to the first that fails when they hold. */
static int set_layers(const struct sat_rsc *r, bool hold, struct trouble *t)
{
        unsigned at = 0;
        int err = 0;
        const struct hold_layer *l;
        while ((!hold || err == 0) && (l = next_layer(r, &at)) != NULL) {
                struct trouble more;
                int failed = l->set(r, hold, err == 0 ? t : &more);
                if (err == 0) err = failed;
        }
        return err;
}

int hold_set(const struct sat_rsc *r, bool hold, struct trouble *t)
{
        struct trouble more;
        int err = hold && hold_possible(r) ? hold_guard_begin(r, t) : 0;
        if (err != 0) return err;
        err = set_layers(r, hold, t);
        bool runs = hold ? err != 0 && set_layers(r, false, &more) == 0 : err == 0;
        if (runs) hold_guard_end(r->rsc_name);
        return err;
}
