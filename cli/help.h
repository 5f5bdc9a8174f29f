/* Texts of the CLI: help and shell completion, made from the table of verbs. Threads: one. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include <stdio.h>

#include "cli/verb.h"

void help_all(FILE *f);
void help_object(FILE *f, const char *object);
void help_verb(FILE *f, const struct cli_verb *verb);
/* A completion script for bash. */
void help_completion(FILE *f);

#endif
