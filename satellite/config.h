/* Settings of the satellite: defaults, then the INI file, then --set and options. Unknown sections and keys
 * are errors.
 *
 * Threads: start-up. Ownership: config_done() frees. */
#ifndef SATELLITE_CONFIG_H
#define SATELLITE_CONFIG_H

#include <stdio.h>

#include "wire/base/err.h"

#define CONFIG_FILE_DEFAULT "/etc/outrigger/satellite.conf"

struct config {
#define CFG(section, key, def, doc) char *section##_##key;
#include "satellite/config.def"
#undef CFG
};
void config_init(struct config *c); /* defaults */
void config_done(struct config *c);
/* E_NOT_FOUND when there is no such file; E_CONFIG with line and cause; -errno. */
int config_read(struct config *c, const char *path, struct fail *f) MUST_USE;
/* "section.key=value". E_CONFIG. */
int config_set(struct config *c, const char *assignment, struct fail *f) MUST_USE;
void config_help(FILE *out);

#endif
