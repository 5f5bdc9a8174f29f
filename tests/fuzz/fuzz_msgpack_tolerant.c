/* msgpack of every type, decoded as messages are. */
#include "tests/fuzz/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        fuzz_msgpack(data, size, DEC_TOLERANT);
        return 0;
}
