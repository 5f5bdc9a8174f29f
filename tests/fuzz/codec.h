/* What the targets of the codec share: the first two bytes choose the type (its id, or else any), the rest is
 * what its decoder gets. Threads: one. Ownership: data is borrowed. */
#ifndef TESTS_FUZZ_CODEC_H
#define TESTS_FUZZ_CODEC_H

#include "tests/fuzz/fuzz.h"
#include "wire/codec/codec.h"
#include "wire/def/types.h"

enum { FUZZ_ARENA_BYTES = 16 << 20, FUZZ_TYPE_BYTES = 2 };

static inline const struct type_desc *fuzz_type(const uint8_t *data)
{
        unsigned id = (unsigned)data[0] << 8 | data[1];
        const struct type_desc *t = types_by_id(id);
        return t != NULL ? t : types_all[id % types_n];
}

/* msgpack in the given mode: what decodes encodes; those bytes are canonical, so the strict decoder takes
 * them and they come out again; and its JSON is JSON. */
void fuzz_msgpack(const uint8_t *data, size_t size, enum dec_mode mode);
/* JSON: what decodes encodes; what is written is understood and written alike; and it is fit to be stored. */
void fuzz_json(const uint8_t *data, size_t size);

#endif
