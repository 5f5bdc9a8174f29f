/* The descriptors of every declared type, see types.h. */
#include "wire/def/types.h"

#define DEF_TABLE types
#include "wire/def/desc_pass.h"
