/* Logging to stderr (journald reads it): one line per event, "level component: text". Only daemons and
 * programs log; libraries return errors. Never pass secrets. Threads: any. */
#ifndef WIRE_BASE_LOG_H
#define WIRE_BASE_LOG_H

#include "wire/base/macros.h"

enum log_level { LOG_ERROR_LEVEL, LOG_WARN_LEVEL, LOG_INFO_LEVEL, LOG_DEBUG_LEVEL, LOG_TRACE_LEVEL };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* Name as users write it ("ERROR" … "TRACE", any case). 0 or E_INVALID. */
int log_level_parse(const char *name, enum log_level *ret_level);
const char *log_level_name(enum log_level level);
void log_write(enum log_level level, const char *component, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_error(component, ...) log_write(LOG_ERROR_LEVEL, component, __VA_ARGS__)
#define log_warn(component, ...) log_write(LOG_WARN_LEVEL, component, __VA_ARGS__)
#define log_info(component, ...) log_write(LOG_INFO_LEVEL, component, __VA_ARGS__)
#define log_debug(component, ...) log_write(LOG_DEBUG_LEVEL, component, __VA_ARGS__)

#endif
