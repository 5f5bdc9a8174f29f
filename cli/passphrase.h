/* Asks for passphrases: on the terminal without echo, or one line of standard input for each. They are never arguments, which everybody
 * on the machine can read. Threads: one. */
#ifndef CLI_PASSPHRASE_H
#define CLI_PASSPHRASE_H

#include "cli/verb.h"

/* Hooks `before` of the verbs of encryption: they make the body. */
int before_passphrase_create(struct cli_call *call);
int before_passphrase_enter(struct cli_call *call);
int before_passphrase_modify(struct cli_call *call);
/* And of volumes: one is changed; one is given to a new volume, when that was asked for. */
int before_volume_passphrase(struct cli_call *call);
int before_volume_create(struct cli_call *call);
/* Puts a secret that was not given as an argument at target of the body: it is asked for, or read from standard input. */
int cli_secret_ask(struct cli_call *call, const char *what, const char *target);
/* The same for a new one: on a terminal it is asked for twice. */
int cli_secret_new(struct cli_call *call, const char *what, const char *target);

#endif
