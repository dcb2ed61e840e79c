#include "block/zeroes.h"

#include <string.h>

#define ZEROES_PIECE (64u << 10)

/* The piece is charged to this budget, so that no cache counts it as its own memory. */
static struct budget zeroes_budget;
static struct bytes *zeroes;

static void zeroes_make(void)
{
    zeroes = bytes_new(ZEROES_PIECE);
    memset(zeroes->data, 0, ZEROES_PIECE);
    bytes_charge(zeroes, &zeroes_budget);
}

void zeroes_add(struct slices *list, uint64_t length)
{
    if (!zeroes)
        zeroes_make();
    while (length > 0) {
        uint32_t part = length < ZEROES_PIECE ? (uint32_t)length : ZEROES_PIECE;
        slices_add(list, zeroes, 0, part);
        length -= part;
    }
}
