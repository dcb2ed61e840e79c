/*
 * Does an image look like a medium that a host can read? Its beginning says so: an ISO 9660 or UDF volume (ECMA-119,
 * 8.4; ECMA-167, 2/9.1), a partition table (MBR, or GPT behind a protective MBR: UEFI, 5), a FAT file system. A web
 * page that a server gave in place of the image has none of these. The answer is a hint for people: any image can be
 * inserted.
 */
#ifndef BLOCK_MEDIUM_H
#define BLOCK_MEDIUM_H

#include <stddef.h>
#include <stdint.h>

#define MEDIUM_VOLUMES (32u << 10) /* where the descriptors of a volume begin */
#define MEDIUM_HEAD (40u << 10) /* bytes from the image's start that are looked at, or all of a smaller image */

enum medium_doubt {
    MEDIUM_GOOD,
    MEDIUM_IS_PAGE,       /* HTML */
    MEDIUM_SIZE_IS_ODD,   /* no multiple of 512 */
    MEDIUM_IS_UNKNOWN,    /* none of the signatures */
};

/* `head`: the image's first `length` bytes, at most MEDIUM_HEAD; `size`: the image's, bytes. */
enum medium_doubt medium_look(const unsigned char *head, size_t length, uint64_t size);
const char *medium_doubt_words(enum medium_doubt doubt); /* and what to check; "" for MEDIUM_GOOD */

#endif
