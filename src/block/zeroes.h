/*
 * Zeroes without memory of their own: every slice refers to one piece that the whole process shares and nobody may
 * write to.
 */
#ifndef BLOCK_ZEROES_H
#define BLOCK_ZEROES_H

#include "base/bytes.h"

/* Adds `length` bytes of zeroes to the list. */
void zeroes_add(struct slices *list, uint64_t length);

#endif
