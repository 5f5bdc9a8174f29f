/* Remotes: where backups go. Access keys and passphrases are sealed under the master key (controller/base/vault.h), and shown nowhere.
 *
 * Threads, ownership: see op.h. */
#ifndef CONTROLLER_OP_OP_REMOTE_H
#define CONTROLLER_OP_OP_REMOTE_H

#include "controller/op/op_internal.h"

bool op_find_remote(struct op *op, const char *name, struct remote *ret);
/* Refuses one that does not exist, is of another kind, or is being deleted. */
bool op_need_remote(struct op *op, const char *name, enum remote_kind kind, struct remote *ret);
/* Is the URL one of HTTP or HTTPS, without user, password, control characters or blanks? NULL, or why not. */
const char *remote_url_problem(const char *url);

#endif
