/* Intrusive doubly linked list. A head is a node that points to itself when the list is empty. */
#ifndef WIRE_BASE_LIST_H
#define WIRE_BASE_LIST_H

#include <stdbool.h>

#include "wire/base/macros.h"

struct list {
        struct list *next, *prev;
};
static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list *head) { return head->next == head; }
static inline void list_push_back(struct list *head, struct list *n)
{
        n->prev = head->prev;
        n->next = head;
        head->prev->next = n;
        head->prev = n;
}
static inline void list_push_front(struct list *head, struct list *n) { list_push_back(head->next, n); }
/* Unlinks n and makes it a list of its own, so that removing twice is harmless. */
static inline void list_remove(struct list *n)
{
        n->prev->next = n->next;
        n->next->prev = n->prev;
        list_init(n);
}
#define list_first(head, type, member) container_of((head)->next, type, member)
#define LIST_FOREACH(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
/* Safe against removal of the current element. */
#define LIST_FOREACH_SAFE(it, nx, head) \
        for (struct list *it = (head)->next, *nx = it->next; it != (head); it = nx, nx = it->next)

#endif
