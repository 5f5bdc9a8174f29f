/* What is in the bucket of a remote, asked by the member that takes the request: listing, describing and deleting backups, and finding
 * the one that is to be restored. Each function blocks until the bucket has answered, for some seconds at most for each object.
 *
 * Threads: one of its own for each request (controller/rest/rest_remote.c). Ownership: the arena is the caller's. */
#ifndef CONTROLLER_REST_REST_BACKUP_H
#define CONTROLLER_REST_REST_BACKUP_H

#include "controller/base/apirc.h"
#include "controller/base/route.h"
#include "state/tx.h"
#include "wire/net/s3.h"

struct backup_call {
        struct arena *arena;
        const struct query *query;
        struct s3_target target;
        const struct ship *ships; /* of the remote, from the state */
        uint32_t ships_n;
        /* the answer */
        struct buf *out;
        unsigned status;
        enum apirc_code code;                     /* when status is an error */
        const char *message, *cause, *correction; /* cause and correction: NULL allowed */
};
void backup_list(struct backup_call *c);
void backup_info(struct backup_call *c, struct blob body);
void backup_delete(struct backup_call *c);
/* Puts what the leader has to know into the body; false: the answer says why not. */
bool backup_resolve(struct backup_call *c, struct buf *body);

#endif
