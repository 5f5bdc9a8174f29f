/* What a satellite remembers, while it runs, of what it has done for a resource: two numbers under a number of the caller's.
 *
 * Threads: any. Ownership: a list of the caller's, static; names are copied. */
#ifndef SATELLITE_BASE_MEMO_H
#define SATELLITE_BASE_MEMO_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/base/list.h"

struct memos {
        struct list all;
        pthread_mutex_t lock;
};
#define MEMOS_INIT(name)                                                \
        {                                                               \
                { &(name).all, &(name).all }, PTHREAD_MUTEX_INITIALIZER \
        }

void memo_set(struct memos *m, const char *name, uint64_t number, uint64_t a, uint64_t b);
bool memo_is(struct memos *m, const char *name, uint64_t number, uint64_t a, uint64_t b);
/* Everything of the resource. */
void memo_drop(struct memos *m, const char *name);

#endif
