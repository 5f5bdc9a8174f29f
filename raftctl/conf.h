/* Cluster configurations in the core's encoding: made, checked, copied. Everything that comes from the disk
 * or the network passes conf_check before the core sees it, because the core trusts every field.
 *
 * Ownership: raft_configuration's memory is the core's allocator's. Threads: pure. Only for files of raftctl/
 * that include raft.h. */
#ifndef RAFTCTL_CONF_H
#define RAFTCTL_CONF_H

#include <raft.h>

#include "raftctl/driver.h"

#define CONF_MEMBERS_MAX 16
#define CONF_ADDRESS_MAX 127

/* 0 or E_CORRUPT: format, at least one voter, at most CONF_MEMBERS_MAX members, ids unique and not 0,
 * addresses unique and short. */
int conf_check(struct blob in) MUST_USE;
/* Decodes what conf_check accepts. */
int conf_decode(struct blob in, struct raft_configuration *ret) MUST_USE;
void conf_encode(const struct raft_configuration *c, struct buf *out);
void conf_copy(const struct raft_configuration *c, struct raft_configuration *ret);
/* NULL when not a member. */
const struct raft_server *conf_find(const struct raft_configuration *c, uint64_t id);
unsigned conf_voters(const struct raft_configuration *c);
bool conf_is_voter(const struct raft_configuration *c, uint64_t id);
/* id is a voter and the only one. */
bool conf_is_sole_voter(const struct raft_configuration *c, uint64_t id);
int conf_role_to_core(enum member_role role);
enum member_role conf_role_from_core(int role);
/* A copy without id, or with another role of it, or with it added. */
void conf_without(const struct raft_configuration *c, uint64_t id, struct raft_configuration *ret);
void conf_with_role(
        const struct raft_configuration *c, uint64_t id, int role, struct raft_configuration *ret);
int conf_with_member(const struct raft_configuration *c, uint64_t id, const char *address, int role,
        struct raft_configuration *ret) MUST_USE;
/* Makes the core's allocator abort instead of failing. */
void conf_heap_init(void);

#endif
