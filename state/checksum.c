/* SipHash of the value under a key that is the SipHash of the row's key: two calls, no copy. */
#include "state/checksum.h"

#include <sodium.h>
#include <string.h>

static const uint8_t row_key[crypto_shorthash_KEYBYTES] = "outrigger row 1";

static uint64_t get_be64(const uint8_t p[8])
{
        uint64_t v = 0;
        for (int i = 0; i < 8; i++) v = v << 8 | p[i];
        return v;
}

uint64_t checksum64(struct blob key, struct blob value)
{
        uint8_t out[crypto_shorthash_BYTES], k[crypto_shorthash_KEYBYTES];
        memcpy(k, row_key, sizeof k);
        crypto_shorthash(k, key.p, key.n, row_key);
        crypto_shorthash(out, value.p, value.n, k);
        return get_be64(out);
}
