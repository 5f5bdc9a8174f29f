/* After a lost majority: one survivor begins a new history alone (raftctl/takeover.h), with its log and state.
 * Offline. Further survivors join it anew: with two of them carried over, the old history could still win an
 * election with the vote of one.
 *
 * Threads: blocking, for programs. */
#ifndef RAFTCTL_RECOVER_H
#define RAFTCTL_RECOVER_H

#include "raftctl/takeover.h"

#define RECOVER_MEMBERS_MAX 16

struct recover_member {
        char name[PKI_NAME_MAX + 1];
        char address[128];
        uint64_t raft_id;
        bool voter, self;
};
struct recover_view {
        char cluster[40], name[PKI_NAME_MAX + 1], address[128];
        uint64_t raft_id;
        uint64_t last_index, last_term, applied_index, term;
        int64_t written_ms; /* when the store was last written to, 0 = not known */
        struct recover_member members[RECOVER_MEMBERS_MAX]; /* of the last configuration in the log */
        unsigned members_n;
        bool self_voter;
        unsigned other_voters;
};
/* What is there. E_NOT_FOUND: no member; E_BUSY: it runs; E_CORRUPT: damaged; E_UNSUPPORTED: a witness. */
int member_recover_look(const char *dir, struct recover_view *ret, struct fail *f) MUST_USE;
/* Does it. above_term: satellites know of this term; 0 = nothing known. */
int member_recover(const char *dir, const struct recover_view *view, uint64_t above_term, uint64_t *ret_index,
        uint64_t *ret_term, struct fail *f) MUST_USE;
/* Does somebody take connections at that address? Waits for timeout_ms at most. */
bool recover_answers(const char *address, unsigned timeout_ms);

#endif
