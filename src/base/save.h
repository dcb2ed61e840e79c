/*
 * A small file that is written anew as a whole, in a thread and atomically (PATH.new, then
 * a rename, both synced: after a power cut it is the old one or the new one), with mode
 * 0600. Of texts that come faster than they can be written, only the newest is written.
 * What can't be written is logged, and tried again with the next text.
 */
#ifndef BASE_SAVE_H
#define BASE_SAVE_H

#include <stdbool.h>
#include <uv.h>

#include "base/work.h"

struct save {
    uv_loop_t *loop;
    char *path;
    const char *loss; /* for the log: what a failure means */
    struct work work;
    char *text; /* what is being written */
    char *next; /* what is to be written after that */
    bool writing;
    int status;
    void (*idle)(void *arg); /* called once, when nothing is left to be written */
    void *idle_arg;
};

/* `path` is taken over. */
void save_init(struct save *save, uv_loop_t *loop, char *path, const char *loss);
void save_text(struct save *save, char *text); /* takes it over, and wipes it in the end */
/* `idle` comes once all texts are written; inside the call if they are already. */
void save_flush(struct save *save, void (*idle)(void *arg), void *arg);
void save_free(struct save *save); /* after a flush, or when nothing was ever written */

/* Makes the renames in the folder of `path` outlive a power cut. Blocks; 0 or a negative errno. */
int save_sync_folder(const char *path);

#endif
