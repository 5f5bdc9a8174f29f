/* The types of kinds.def, expanded by the passes that expand the real ones. Threads: constants. */
#ifndef TESTS_LIB_KINDS_H
#define TESTS_LIB_KINDS_H

#define TYPES_DEF "tests/lib/kinds.def"
#define ENUMS_DEF "tests/lib/kinds_enums.def"
#include "wire/def/decl_pass.h"

extern const struct type_desc *const kinds_all[];
extern const uint32_t kinds_n;
const struct type_desc *kinds_by_id(unsigned id);

#endif
