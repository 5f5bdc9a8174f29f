/* What json_in.c, json_scalar.c and json_out.c share. For wire/codec only.
 *
 * Threads: pure. Ownership: jansson's values are borrowed, strings are copied into the arena. */
#ifndef WIRE_CODEC_JSON_INTERNAL_H
#define WIRE_CODEC_JSON_INTERNAL_H

#include <jansson.h>

#include "wire/codec/path.h"

/* Scalars by coercion, see dec_json. Each returns 0, or fails with the path and what was found instead. */
int json_to_bool(const struct path *p, const json_t *v, bool *ret) MUST_USE;
int json_to_i64(const struct path *p, const json_t *v, int64_t *ret) MUST_USE;
int json_to_u64(const struct path *p, const json_t *v, uint64_t *ret) MUST_USE;
int json_to_f64(const struct path *p, const json_t *v, double *ret) MUST_USE;
int json_to_str(const struct path *p, const json_t *v, struct arena *a, const char **ret) MUST_USE;
int json_to_bin(const struct path *p, const json_t *v, struct arena *a, struct blob *ret) MUST_USE;
/* "expected WHAT, got ..." */
int json_mismatch(const struct path *p, const json_t *v, const char *what);

/* The shortest text that reads back as d, with a point whatever the locale says. d is finite. */
enum { F64_TEXT_BYTES = 40 };
void f64_text(double d, char out[F64_TEXT_BYTES]);

#endif
