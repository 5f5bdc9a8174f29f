/* One-time tokens as text: base64url of a join_ticket in msgpack. The cluster keeps only the hash of the
 * secret.
 *
 * Threads: any. Ownership: decoded tickets live in the caller's arena. */
#ifndef WIRE_NET_JOIN_TOKEN_H
#define WIRE_NET_JOIN_TOKEN_H

#include "wire/base/buf.h"
#include "wire/base/err.h"
#include "wire/def/types.h"

#define TOKEN_SECRET_SIZE 32
#define TOKEN_HASH_SIZE 32
#define TOKEN_TEXT_MAX 2048

int token_encode(const struct join_ticket *t, struct buf *out) MUST_USE;
/* Blanks and line breaks around it are forgiven. E_INVALID with a text for the user. */
int token_decode(const char *text, struct arena *a, struct join_ticket *ret, struct fail *f) MUST_USE;
/* BLAKE2b-256, keyed with a purpose. */
void token_hash(struct blob secret, uint8_t ret[TOKEN_HASH_SIZE]);

#endif
