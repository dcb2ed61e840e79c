/* A source on a server, with a loop of its own: opened, read and closed, whatever the protocol. One at a time. */
#ifndef TEST_REMOTE_SOURCE_RIG_H
#define TEST_REMOTE_SOURCE_RIG_H

#include <uv.h>

#include "block/source.h"

struct source_rig {
    uv_loop_t loop;
    struct source *source;        /* NULL: it is closed and freed */
    const unsigned char *content; /* of the image: what is read without an error is compared with it */
    int opened, closed;           /* how often */
    int done, good;               /* reads; those without an error among them */
    int status, io_status;        /* of opening; of the last read */
};

extern struct source_rig rig;

/* A new rig, and its loop, for a source to be made on. */
void source_rig_begin(const unsigned char *content);
/* Gives the status when it is there. */
int source_rig_open(struct source *source);
/* A read's `done`. */
void source_rig_done(struct io *io);
/* Runs until so many reads are done. */
void source_rig_wait(int done);
/* One read, from its begin to its end; gives its status. */
int source_rig_read(uint64_t offset, uint32_t length);
void source_rig_close(void);
/* Closes, if that was not done, and asserts that nothing is left on the loop. The counts stay. */
void source_rig_end(void);

#endif
