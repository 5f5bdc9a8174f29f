/* The local socket of a member, RUN_DIR/raftctl.sock: mode 0600, root or the member's own user only (checked
 * by SO_PEERCRED as well). Frames: u32 big-endian length | u16 kind | msgpack of wire/def/admin.def; one
 * request at a time for each client. Slow or wrong clients are closed. BACKUP is answered by parts, then the reply.
 *
 * Ownership: one object for each member, closed before it. Threads: loop thread only. */
#ifndef RAFTCTL_ADMIN_H
#define RAFTCTL_ADMIN_H

#include "raftctl/member.h"

#define ADMIN_SOCKET "raftctl.sock"
#define ADMIN_FRAME_MAX (1u << 20)
#define ADMIN_CLIENTS_MAX 16
enum admin_kind { ADMIN_REQUEST = 1, ADMIN_REPLY = 2, ADMIN_PART = 3 };
#define ADMIN_PART_MAX (24u << 20)

struct admin;
/* After a failure as well: *ret is set, and admin_close() is required. */
int admin_open(struct local_member *m, const char *run_dir, struct admin **ret, struct fail *f) MUST_USE;
void admin_close(struct admin *a, void (*cb)(void *arg), void *arg);

/* The asking side: connects, asks, waits. Blocking, for programs. reply lives in the arena. E_NOT_FOUND: no
 * member runs here. */
int admin_ask(const char *run_dir, const struct admin_request *request, unsigned timeout_ms, struct arena *a,
        struct admin_reply *ret, struct fail *f) MUST_USE;
/* The same for an answer in parts, each given to fn; an error that it returns ends the call (f is set by fn's
 * owner). timeout_ms: without any part. */
typedef int admin_part_fn(void *arg, struct blob part);
int admin_ask_parts(const char *run_dir, const struct admin_request *request, unsigned timeout_ms,
        admin_part_fn *fn, void *arg, struct arena *a, struct admin_reply *ret, struct fail *f) MUST_USE;

#endif
