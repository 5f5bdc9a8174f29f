#include "satellite/base/inject.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define INJECT(name, doc) #name,
static const char *const names[INJECT_N] = {
#include "wire/def/inject.def"
};
#undef INJECT

static enum inject_point armed = INJECT_N;
static atomic_long left;

int inject_arm(const char *spec, struct fail *f)
{
        const char *colon = strchr(spec, ':');
        size_t n = colon == NULL ? strlen(spec) : (size_t)(colon - spec);
        long count = 1;
        if (colon != NULL) {
                char *end;
                count = strtol(colon + 1, &end, 10);
                if (*end != '\0' || count < 1)
                        return fail_set(f, E_INVALID, "OUTRIGGER_INJECT: \"%s\" is no count", colon + 1);
        }
        for (unsigned i = 0; i < INJECT_N; i++) {
                if (strncasecmp(names[i], spec, n) != 0 || names[i][n] != '\0') continue;
                atomic_store(&left, count);
                armed = (enum inject_point)i;
                return 0;
        }
        return fail_set(f, E_INVALID, "OUTRIGGER_INJECT: there is no fault point \"%s\"", spec);
}

void inject_point(enum inject_point point)
{
        if (point == armed && atomic_fetch_sub(&left, 1) == 1) _exit(99);
}
