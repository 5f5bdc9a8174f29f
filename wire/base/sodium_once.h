/* Starts libsodium before its first use. Threads: any, any number of times; aborts when it cannot start. */
#ifndef WIRE_BASE_SODIUM_ONCE_H
#define WIRE_BASE_SODIUM_ONCE_H

void sodium_once(void);

#endif
