/* Checksum of stored rows: finds damage, proves nothing against an adversary. Pure. */
#ifndef STATE_CHECKSUM_H
#define STATE_CHECKSUM_H

#include <stdint.h>

#include "wire/base/mem.h"

/* 64 bits over key and value, so that a row under another row's key is found as well. Stable for ever: it is
 * on disk. */
uint64_t checksum64(struct blob key, struct blob value);

#endif
