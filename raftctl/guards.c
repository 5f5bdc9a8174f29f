#include "raftctl/guards.h"

#include <string.h>

uint32_t guards_off;

static const char *const names[GUARD_N] = {
#define GUARD(name, doc) #name,
#include "raftctl/guards.def"
#undef GUARD
};

const char *guard_name(enum guard g) { return (unsigned)g < GUARD_N ? names[g] : "?"; }

int guard_parse(const char *name)
{
        for (int i = 0; i < GUARD_N; i++)
                if (strcmp(names[i], name) == 0) return i;
        return -1;
}
