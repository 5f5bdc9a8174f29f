/* JSON of every type, decoded as requests and replies are. */
#include "tests/fuzz/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        fuzz_json(data, size);
        return 0;
}
