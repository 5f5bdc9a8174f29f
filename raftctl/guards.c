#include "raftctl/guards.h"

#include <string.h>

#include "wire/base/sabotage.h"

uint32_t guards_off;

static const char *const names[GUARD_N] = {
#define GUARD(name, doc) #name,
#include "raftctl/guards.def"
#undef GUARD
};

#ifdef ENABLE_SABOTAGE
bool guard_skipped(enum guard g)
{
        switch (g) {
#define GUARD(name, doc)   \
        case GUARD_##name: \
                return SABOTAGE(SKIP_##name);
#include "raftctl/guards.def"
#undef GUARD
        case GUARD_N:
        default: return false;
        }
}
#endif

const char *guard_name(enum guard g) { return (unsigned)g < GUARD_N ? names[g] : "?"; }

int guard_parse(const char *name)
{
        for (int i = 0; i < GUARD_N; i++)
                if (strcmp(names[i], name) == 0) return i;
        return -1;
}
