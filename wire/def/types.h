/* Every declared type: what wire/def/all.def and wire/def/enums.def say, expanded (decl_pass.h explains how).
 *
 * Threads: constants only. Ownership: descriptors are static. */
#ifndef WIRE_DEF_TYPES_H
#define WIRE_DEF_TYPES_H

#define TYPES_DEF "wire/def/all.def"
#define ENUMS_DEF "wire/def/enums.def"
#include "wire/def/decl_pass.h"

/* All types in the order of their declaration, NULL after the last; types_n does not count it. */
extern const struct type_desc *const types_all[];
extern const uint32_t types_n;
/* NULL when there is none. */
const struct type_desc *types_by_id(unsigned id);

#endif
