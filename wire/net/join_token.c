#include "wire/net/join_token.h"

#include <sodium.h>
#include <string.h>

#include "wire/base/sodium_once.h"
#include "wire/codec/codec.h"

enum { B64 = sodium_base64_VARIANT_URLSAFE_NO_PADDING };

int token_encode(const struct join_ticket *t, struct buf *out)
{
        struct buf raw = { 0 };
        int err = enc_msgpack(&join_ticket_type, t, &raw);
        if (err == 0) {
                size_t n = sodium_base64_encoded_len(raw.n, B64);
                uint8_t *to = buf_reserve(out, n);
                if (to != NULL) {
                        (void)sodium_bin2base64((char *)to, n, raw.p, raw.n, B64);
                        buf_advance(out, n - 1); /* the NUL is not counted */
                }
                err = out->err;
        }
        if (raw.p != NULL) secret_wipe(raw.p, raw.n);
        buf_done(&raw);
        return err;
}

int token_decode(const char *text, struct arena *a, struct join_ticket *ret, struct fail *f)
{
        uint8_t raw[TOKEN_TEXT_MAX];
        size_t n = 0;
        const char *end = NULL;
        struct fail why = { 0 };
        size_t len = strnlen(text, TOKEN_TEXT_MAX + 1);
        if (len > TOKEN_TEXT_MAX ||
                sodium_base642bin(raw, sizeof raw, text, len, " \t\r\n", &n, &end, B64) != 0 ||
                end != text + len)
                return fail_set(f, E_INVALID,
                        "this is not a join token: copy the whole line that 'raftctl token create' printed");
        int err = dec_msgpack(&join_ticket_type, BLOB(raw, n), DEC_TOLERANT, a, ret, &why);
        secret_wipe(raw, sizeof raw);
        if (err != 0 || ret->pin.n != 32 || ret->secret.n != TOKEN_SECRET_SIZE || ret->addresses_n == 0)
                return fail_set(f, E_INVALID,
                        "the join token is damaged: copy the whole line that 'raftctl token create' printed");
        return 0;
}

void token_hash(struct blob secret, uint8_t ret[TOKEN_HASH_SIZE])
{
        static const char purpose[crypto_generichash_KEYBYTES] = "outrigger join token secret";
        sodium_once();
        (void)crypto_generichash(
                ret, TOKEN_HASH_SIZE, secret.p, secret.n, (const uint8_t *)purpose, sizeof purpose);
}
