/* Settings of the satellite by the common table (wire/codec/config.h): defaults, then the INI file, then
 * --set and options. Unknown sections and keys are errors.
 *
 * Threads: start-up. Ownership: config_done(&sat_config_table, c) frees. */
#ifndef SATELLITE_CONFIG_H
#define SATELLITE_CONFIG_H

#include "satellite/session.h"
#include "wire/codec/config.h"

#define SAT_CONFIG_FILE "/etc/outrigger/satellite.conf"

struct sat_config {
#define CFG(section, key, kind, ...) CONFIG_MEMBER(section, key, kind)
#include "satellite/config.def"
#undef CFG
};
extern const struct config_table sat_config_table;

/* What net.listen, net.port and net.tls_port say together. Returns how many, at most SESSION_LISTENERS_MAX.
 */
uint32_t sat_config_addresses(const struct sat_config *c, struct sockaddr_storage ret[SESSION_LISTENERS_MAX]);

#endif
