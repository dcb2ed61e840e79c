/*
 * What libssh2 allocates for a session: wiped when it is freed, since passwords and keys are in it;
 * freed at the session's end if libssh2 does not, as when a key exchange is given up halfway; and
 * bounded, whatever the server sends.
 */
#ifndef REMOTE_SFTP_MEMORY_H
#define REMOTE_SFTP_MEMORY_H

#include <libssh2.h>

#include "base/list.h"

#define SSH_MEMORY_MAX (16u << 20)

struct ssh_memory {
    struct link blocks;
    size_t used;
};

/* A session whose memory is there. The abstract pointer is the memory's. */
LIBSSH2_SESSION *ssh_memory_session(struct ssh_memory *memory);
/* For memory that libssh2 frees itself; NULL: the bound is reached. */
void *ssh_memory_alloc(struct ssh_memory *memory, size_t size);
/* Frees what is left after the session was freed. */
void ssh_memory_clear(struct ssh_memory *memory);

#endif
