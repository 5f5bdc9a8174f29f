/* msgpack of every type, decoded as the log and the store are. */
#include "tests/fuzz/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        fuzz_msgpack(data, size, DEC_STRICT);
        return 0;
}
