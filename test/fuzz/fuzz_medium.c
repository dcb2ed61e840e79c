/*
 * What an image begins with, in memory of its own size. The first byte, bit 0: the rest stands where the descriptors of a
 * volume are; 1: at the end of the first sector; the others and the second byte: the image's size beyond that.
 */
#include <stdlib.h>
#include <string.h>

#include "block/medium.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t before = data[0] & 1 ? 32768 : data[0] & 2 ? 500 : 0, length = before + size - 2;
    uint64_t whole = length + (data[0] >> 2) * 256u + data[1];
    length = length < MEDIUM_HEAD ? length : MEDIUM_HEAD;
    unsigned char *head = calloc(1, length + !length);
    memcpy(head + before, data + 2, length - before);
    enum medium_doubt doubt = medium_look(head, length, whole);
    const char *words = medium_doubt_words(doubt);
    if ((doubt == MEDIUM_GOOD) != !*words || (doubt == MEDIUM_GOOD && whole % 512 != 0))
        abort();
    free(head);
    return 0;
}
