/* Choosing the seeded bug, see sabotage.h. Empty in a normal build. */
#include "wire/base/sabotage.h"

#ifdef ENABLE_SABOTAGE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum sabotage sabotage_chosen;

static const char *const names[SABOTAGE_N] = {
        [SABOTAGE_NONE] = "none",
#define BUG(name, what, finder) [SABOTAGE_##name] = #name,
#include "wire/base/sabotage.def"
#undef BUG
};

/* Before main, so that nothing runs with another bug first. */
__attribute__((constructor)) static void choose(void)
{
        const char *name = getenv("OUTRIGGER_SABOTAGE");
        if (name == NULL || name[0] == '\0') return;
        for (int i = 0; i < SABOTAGE_N; i++) {
                if (strcmp(names[i], name) != 0) continue;
                sabotage_chosen = (enum sabotage)i;
                return;
        }
        (void)fprintf(stderr, "OUTRIGGER_SABOTAGE=%s: there is no such seeded bug\n", name);
        exit(2);
}

const char *sabotage_notice(void)
{
        static char text[160];
        (void)snprintf(text, sizeof text,
                "\nBUILT WITH SEEDED BUGS (--enable-sabotage) FOR TESTS ONLY. NEVER KEEP DATA WITH IT. Bug "
                "now: %s",
                names[sabotage_chosen]);
        return text;
}
#endif
