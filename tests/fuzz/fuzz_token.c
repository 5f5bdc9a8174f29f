/* Join tokens as people paste them: what is taken for one can be written again. */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "wire/codec/codec.h"
#include "wire/net/join_token.h"

static void check_ticket(const struct join_ticket *t, struct arena *a)
{
        struct buf text = { 0 };
        struct join_ticket back;
        struct fail why = { 0 };
        uint8_t hash[TOKEN_HASH_SIZE];
        FUZZ_CHECK(t->secret.n == TOKEN_SECRET_SIZE && t->pin.n == 32 && t->addresses_n > 0);
        FUZZ_CHECK(token_encode(t, &text) == 0);
        int err = token_decode(buf_cstr(&text), a, &back, &why);
        if (text.n <= TOKEN_TEXT_MAX) {
                FUZZ_CHECK(err == 0);
                FUZZ_CHECK(obj_equal(&join_ticket_type, t, &back));
        }
        token_hash(t->secret, hash);
        buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct arena a = { 0 };
        struct join_ticket t;
        struct fail why = { 0 };
        const char *text = arena_strndup(&a, (const char *)data, size);
        int err = token_decode(text, &a, &t, &why);
        if (err == 0) check_ticket(&t, &a);
        else FUZZ_CHECK(err == E_INVALID && why.err == err && why.text[0] != '\0');
        arena_done(&a);
        return 0;
}
