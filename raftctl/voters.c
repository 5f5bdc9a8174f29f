#include "raftctl/voters.h"

#include <stddef.h>

void voters_add(struct voters *v, bool controller, bool is_volatile)
{
        v->n++;
        v->controllers += controller;
        v->volatiles += is_volatile;
}

static uint32_t missing(uint32_t want, uint32_t have) { return want > have ? want - have : 0; }

uint32_t voters_lack_lasting(const struct voters *v)
{
        return v->volatiles == 0 ? 0 : missing(v->n / 2 + 1, v->n - v->volatiles);
}

uint32_t voters_lack_controllers(const struct voters *v) { return missing((v->n + 1) / 2, v->controllers); }

const char *voters_worse(const struct voters *before, const struct voters *after)
{
        if (voters_lack_lasting(after) > voters_lack_lasting(before))
                return "voters that keep their vote over a restart must be a majority";
        if (voters_lack_controllers(after) > voters_lack_controllers(before))
                return "witnesses could be a majority without any controller, and they keep no state";
        return NULL;
}
