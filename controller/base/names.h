/* Rules for the names of objects. Names keep their spelling and are compared without case.
 *
 * Threads: pure functions. Ownership: reasons are static text. */
#ifndef CONTROLLER_BASE_NAMES_H
#define CONTROLLER_BASE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/base/mem.h"

enum name_kind {
        NAME_NODE,
        NAME_RSC,
        NAME_RSC_GRP,
        NAME_SNAPSHOT,
        NAME_KVS,
        NAME_POOL,
        NAME_NETIF,
        NAME_SHARED_SPACE
};

/* NULL when s is a legal name, else why it is not. s may be NULL. */
const char *name_check(enum name_kind kind, const char *s);
/* Is s an IPv4 or IPv6 address in text form? */
bool name_is_address(const char *s);
/* A legal resource name of at most 40 characters that resembles text. */
char *name_derive_rsc(const char *text, struct arena *a);
/* Longest external name, in bytes: it is the key of an index. */
#define EXTERNAL_NAME_MAX 400

#endif
