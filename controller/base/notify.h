/* Tells the service manager how the process is doing (the protocol of sd_notify: a datagram to
 * $NOTIFY_SOCKET). Threads: any; nothing is shared. */
#ifndef CONTROLLER_BASE_NOTIFY_H
#define CONTROLLER_BASE_NOTIFY_H

#include "wire/base/macros.h"

/* "READY=1", "STOPPING=1", "STATUS=..."; several separated by newlines. Does nothing without a service
 * manager; failures are not worth more than silence. */
void notify_manager(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
