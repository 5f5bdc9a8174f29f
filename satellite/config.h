/* Settings of the satellite: defaults, then the INI file, then --set and options. Unknown sections and keys
 * are errors.
 *
 * Threads: start-up. Ownership: sat_config_done() frees. */
#ifndef SATELLITE_CONFIG_H
#define SATELLITE_CONFIG_H

#include <stdio.h>

#include "wire/base/err.h"

#define SAT_CONFIG_FILE "/etc/outrigger/satellite.conf"

struct sat_config {
#define CFG(section, key, def, doc) char *section##_##key;
#include "satellite/config.def"
#undef CFG
};
void sat_config_init(struct sat_config *c); /* defaults */
void sat_config_done(struct sat_config *c);
/* E_NOT_FOUND when there is no such file; E_CONFIG with line and cause; -errno. */
int sat_config_read(struct sat_config *c, const char *path, struct fail *f) MUST_USE;
/* "section.key=value". E_CONFIG. */
int sat_config_set(struct sat_config *c, const char *assignment, struct fail *f) MUST_USE;
void sat_config_help(FILE *out);

#endif
