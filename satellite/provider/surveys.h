/* Looks at many devices at once: at each place only once where the provider can do that (provider.h, survey). For as long as nothing is
 * changed. Threads: one at a time; blocks. Ownership: what was seen lives in the arena. */
#ifndef SATELLITE_PROVIDER_SURVEYS_H
#define SATELLITE_PROVIDER_SURVEYS_H

#include "satellite/provider/provider.h"

#define SURVEYS_MAX 4 /* places; in further ones it looks device by device */

struct surveys {
        struct survey {
                enum provider_kind kind;
                const char *place;
                const void *seen;
                int err;
                struct trouble why;
        } at[SURVEYS_MAX];
        unsigned n;
};

/* As provider.probe(). */
int surveys_probe(struct surveys *s, struct dev *d, struct arena *a, struct trouble *t) MUST_USE;

#endif
