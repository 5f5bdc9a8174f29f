/* What a member without the state (a witness) keeps of it: who the members are, and the applied state's own row with
 * index, term and hash. So its apply is that of everybody, in the same transaction as its log, the hash that is
 * chained over the write-sets can be compared with the others', and certificates are judged by the same table.
 * Pure. */
#ifndef RAFTCTL_LOG_ONLY_H
#define RAFTCTL_LOG_ONLY_H

#include <stdbool.h>

#include "wire/base/buf.h"

bool log_only_keeps(struct blob key);
/* The two bytes with which the next kept keys behind `key`, which is not kept, begin. false: there are none. */
bool log_only_next(struct blob key, uint8_t ret[2]);

#endif
