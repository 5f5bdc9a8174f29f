/* Where in a value a decoder is: for messages such as "volumes[2].size_kib: ...". For wire/codec only.
 *
 * Threads: one decoder owns one path. Ownership: names are borrowed while the decoder is in them. */
#ifndef WIRE_CODEC_PATH_H
#define WIRE_CODEC_PATH_H

#include "wire/codec/codec.h"

/* Each object takes a step for its field and one for the element or the key. */
#define PATH_STEPS_MAX (2 * CODEC_DEPTH_MAX + 4)

struct path {
        unsigned n; /* steps in use */
        struct path_step {
                const char *name; /* field, or key of a map; NULL: element number idx */
                uint32_t idx;
        } steps[PATH_STEPS_MAX];
        struct fail *fail; /* may be NULL */
};

/* Steps past the last one are counted, not kept. Every push is followed by a pop, unless decoding has failed.
 */
void path_push(struct path *p, const char *name);
void path_push_idx(struct path *p, uint32_t idx);
static inline void path_pop(struct path *p) { p->n--; }
/* Fills fail: text is "path: what", field is the path. Returns err. */
int path_fail(const struct path *p, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
