/* Settings of the controller: defaults, then the INI file, then --set and options. Unknown sections and keys
 * are errors.
 *
 * Threads: start-up. Ownership: ctl_config_done() frees. */
#ifndef CONTROLLER_CONFIG_H
#define CONTROLLER_CONFIG_H

#include <stdbool.h>
#include <stdio.h>

#include "wire/base/err.h"

#define CTL_CONFIG_FILE "/etc/outrigger/controller.conf"

struct ctl_config {
#define CFG(section, key, def, doc) char *section##_##key;
#include "controller/config.def"
#undef CFG
};
void ctl_config_init(struct ctl_config *c); /* defaults */
void ctl_config_done(struct ctl_config *c);
/* E_NOT_FOUND when there is no such file; E_CONFIG with line and cause; -errno. */
int ctl_config_read(struct ctl_config *c, const char *path, struct fail *f) MUST_USE;
/* "section.key=value". E_CONFIG. */
int ctl_config_set(struct ctl_config *c, const char *assignment, struct fail *f) MUST_USE;
void ctl_config_help(FILE *out);

/* Values. name: "section.key", for the text of the failure. E_CONFIG. */
int ctl_config_number(const char *name, const char *text, unsigned min, unsigned max, unsigned *ret,
        struct fail *f) MUST_USE;
int ctl_config_bool(const char *name, const char *text, bool *ret, struct fail *f) MUST_USE;

#endif
