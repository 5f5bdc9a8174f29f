#include "satellite/base/memo.h"

#include <stdlib.h>
#include <string.h>

#include "wire/base/mem.h"

struct memo {
        struct list at;
        char *name;
        uint64_t number, a, b;
};

static struct memo *find(struct memos *m, const char *name, uint64_t number)
{
        LIST_FOREACH(i, &m->all)
        {
                struct memo *x = container_of(i, struct memo, at);
                if (x->number == number && strcmp(x->name, name) == 0) return x;
        }
        return NULL;
}

void memo_set(struct memos *m, const char *name, uint64_t number, uint64_t a, uint64_t b)
{
        pthread_mutex_lock(&m->lock);
        struct memo *x = find(m, name, number);
        if (x == NULL) {
                x = xnew(struct memo);
                x->name = xstrdup(name);
                x->number = number;
                list_push_back(&m->all, &x->at);
        }
        x->a = a;
        x->b = b;
        pthread_mutex_unlock(&m->lock);
}

bool memo_is(struct memos *m, const char *name, uint64_t number, uint64_t a, uint64_t b)
{
        pthread_mutex_lock(&m->lock);
        const struct memo *x = find(m, name, number);
        bool is = x != NULL && x->a == a && x->b == b;
        pthread_mutex_unlock(&m->lock);
        return is;
}

void memo_drop(struct memos *m, const char *name)
{
        pthread_mutex_lock(&m->lock);
        LIST_FOREACH_SAFE(i, next, &m->all)
        {
                struct memo *x = container_of(i, struct memo, at);
                if (strcmp(x->name, name) != 0) continue;
                list_remove(&x->at);
                free(x->name);
                free(x);
        }
        pthread_mutex_unlock(&m->lock);
}
