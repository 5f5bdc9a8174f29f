/* Where a decoder is, see path.h. */
#include "wire/codec/path.h"

#include <stdarg.h>
#include <stdio.h>

void path_push(struct path *p, const char *name)
{
        if (p->n < PATH_STEPS_MAX) p->steps[p->n] = (struct path_step){ .name = name };
        p->n++;
}

void path_push_idx(struct path *p, uint32_t idx)
{
        if (p->n < PATH_STEPS_MAX) p->steps[p->n] = (struct path_step){ .idx = idx };
        p->n++;
}

int path_fail(const struct path *p, int err, const char *fmt, ...)
{
        if (p->fail == NULL) return err;
        char where[sizeof p->fail->text] = "", what[sizeof p->fail->text];
        size_t at = 0;
        for (unsigned i = 0; i < MIN(p->n, (unsigned)PATH_STEPS_MAX) && at < sizeof where; i++) {
                const struct path_step *s = &p->steps[i];
                int n = s->name == NULL
                                ? snprintf(where + at, sizeof where - at, "[%u]", s->idx)
                                : snprintf(where + at, sizeof where - at, "%s%s", at ? "." : "", s->name);
                if (n < 0) break;
                at += (size_t)n;
        }
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(what, sizeof what, fmt, ap);
        va_end(ap);
        if (where[0] == '\0') (void)fail_set(p->fail, err, "%s", what);
        else (void)fail_set(p->fail, err, "%.*s: %s", (int)sizeof p->fail->field - 1, where, what);
        (void)snprintf(p->fail->field, sizeof p->fail->field, "%.*s", (int)sizeof p->fail->field - 1, where);
        return err;
}
