/* A new one-member cluster from a backup: data directory, certificates, state, and the beginning of a new history
 * (raftctl/takeover.h).
 *
 * The directory is built beside its place, DIR.restoring, and renamed when everything in it is durable: an
 * interruption leaves nothing that a controller would start from. Threads: blocking, for programs. */
#ifndef RAFTCTL_RESTORE_H
#define RAFTCTL_RESTORE_H

#include "raftctl/backup.h"
#include "raftctl/takeover.h"

struct restoring {
        const char *file, *dir;
        const char *name, *address; /* of the new member */
        const char *const *sans;
        uint32_t sans_n;
        struct blob passphrase; /* empty = none */
        bool new_ca;            /* a new certificate authority, even when the backup has the old one */
        uint64_t above_term;    /* satellites know of this term; 0 = nothing known */
        struct env *env;        /* NULL = env_real() */
};
struct restored {
        char cluster[PKI_UUID_SIZE];
        uint64_t index, term; /* of the backup */
        uint64_t new_index, new_term;
        uint64_t rows;
        bool new_ca;
};
/* E_EXISTS: dir is not empty. Others as backup_walk, store_lmdb_open. f has cause and remedy. */
int member_restore(const struct restoring *c, struct restored *ret, struct fail *f) MUST_USE;

/* Opens a backup file for backup_open: *ret_fd to be closed. */
int backup_file_open(const char *path, int *ret_fd, struct fail *f) MUST_USE;
backup_read_fn backup_file_read; /* arg: the descriptor's address */

#endif
