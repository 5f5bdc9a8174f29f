/* Sorting of maps that a decoder has filled in the order of its input. For wire/codec only.
 *
 * Each sorts by key and keeps the last of equal keys; nothing happens to a map that is sorted already.
 * 0 or E_TOO_LARGE (arena). Threads: pure. Ownership: new arrays come from the arena. */
#ifndef WIRE_CODEC_MAPS_H
#define WIRE_CODEC_MAPS_H

#include "wire/codec/codec.h"

int strmap_sort(struct strmap *m, struct arena *a) MUST_USE;
int intmap_sort(struct intmap *m, struct arena *a) MUST_USE;
int objmap_sort(const struct type_desc *t, struct objmap *m, struct arena *a) MUST_USE;

/* The index of key in keys (every stride-th pointer is a key), or where it belongs when it is absent. */
uint32_t keys_find(const char *const *keys, uint32_t n, unsigned stride, const char *key, bool *ret_found);

#endif
