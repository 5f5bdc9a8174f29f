/* Operations on the master passphrase, and the keys of encrypted volumes (controller/op/op_crypt.c). Threads and ownership: op.h. */
#ifndef CONTROLLER_OP_OP_CRYPT_H
#define CONTROLLER_OP_OP_CRYPT_H

#include "controller/op/op_internal.h"

/* May volumes be encrypted now? false: refused, with cause and remedy. */
bool op_crypt_ready(struct op *op);
/* The same for other secrets. what: "X needs"; why: what is encrypted under it. */
bool op_crypt_need(struct op *op, const char *what, const char *why);
/* Keys of before of one volume, at most: as KEY_OLDS_MAX of satellites. */
#define LUKS_OLDS_MAX 8u
/* May a volume have it? false: refused. */
bool op_passphrase_ok(struct op *op, const char *passphrase);
/* Gives the volume a key that is sealed under the master key, unless it has one. passphrase: the user's own choice, or NULL. The row is
 * not put. false: refused. */
bool op_crypt_volume(struct op *op, struct vlm_dfn *vd, const char *passphrase);
/* The same for all volumes of the definition, which are put. */
bool op_crypt_volumes(struct op *op, const struct rsc_dfn *rd);

#endif
