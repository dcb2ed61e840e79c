/*
 * An intrusive doubly linked list. A `struct link` inside an object puts the
 * object on at most one list; a list's head is a link that points to itself
 * when empty. Nothing is allocated and nothing is owned.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *next, *prev;
};

/* The object of type `type` whose member `member` is the link `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Makes an empty list, or a link that is on no list. */
static inline void list_init(struct link *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct link *l)
{
    return l->next == l;
}

static inline void list_append(struct link *list, struct link *l)
{
    l->prev = list->prev;
    l->next = list;
    list->prev->next = l;
    list->prev = l;
}

static inline void list_prepend(struct link *list, struct link *l)
{
    list_append(list->next, l);
}

/* Takes a link off whatever list it is on; a link on no list stays so. */
static inline void list_remove(struct link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    list_init(l);
}

/* The first link, taken off; NULL when empty. */
static inline struct link *list_pop(struct link *list)
{
    struct link *l = list->next;
    if (l == list)
        return NULL;
    list_remove(l);
    return l;
}

/* Moves everything on `from` to the end of `to`. */
static inline void list_move_all(struct link *to, struct link *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    list_init(from);
}

/* Walks a list; the current link may be removed in the body. */
#define list_for_each(l, list)                                                                     \
    for (struct link *l = (list)->next, *l##_next = l->next; l != (list);                          \
         l = l##_next, l##_next = l->next)

#endif
