/*
 * Does it look like a medium that a host can read? What an image begins with says so: an ISO 9660 or UDF volume (ECMA-119,
 * 8.4; ECMA-167, 2/9.1), a partition table (MBR, or GPT behind a protective one: UEFI, 5), a FAT file system. A web page that
 * a server gave in place of the image does not. Only a look for people's sake: whatever it is can be inserted.
 */
#ifndef BLOCK_MEDIUM_H
#define BLOCK_MEDIUM_H

#include <stddef.h>
#include <stdint.h>

#define MEDIUM_HEAD (40u << 10) /* bytes from the image's start that are looked at; fewer of a smaller one */

enum medium_doubt {
    MEDIUM_GOOD,
    MEDIUM_IS_PAGE,       /* HTML */
    MEDIUM_SIZE_IS_ODD,   /* no multiple of 512 */
    MEDIUM_IS_UNKNOWN,    /* none of the signatures */
};

enum medium_doubt medium_look(const unsigned char *head, size_t length, uint64_t size);
const char *medium_doubt_words(enum medium_doubt doubt); /* and what to do; "" for MEDIUM_GOOD */

#endif
