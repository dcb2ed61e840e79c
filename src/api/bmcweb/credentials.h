/*
 * The user and password that a D-Bus caller hands over through a pipe (or a stream
 * socket): "user NUL password NUL" and nothing behind. It may come in any pieces, and
 * must be there in CREDENTIALS_MS. The caller may still hold the pipe and change
 * whether reading it waits, so the pipe is emptied by splice(2), which never waits the
 * way it is used here. Everything read is overwritten when it is done with.
 */
#ifndef API_BMCWEB_CREDENTIALS_H
#define API_BMCWEB_CREDENTIALS_H

#include <uv.h>

#define CREDENTIALS_MAX 1026 /* bytes: 512 of each, as bmcweb has it, and their ends */
#define CREDENTIALS_MS  5000

struct credentials_reader;

/* Comes once, not inside credentials_read(). 0: user and password are there (either may be "", both
 * are valid in the call); -EINVAL: something else came; -ETIMEDOUT; -EIO. The reader frees
 * itself. */
typedef void credentials_done(void *arg, int status, const char *user, const char *password);

/* Reads from a copy of `fd`. NULL when `fd` can't be read from: then `*status` is -EINVAL or -EIO. */
struct credentials_reader *credentials_read(uv_loop_t *loop, int fd, credentials_done *done, void *arg, int *status);
/* `done` does not come. */
void credentials_cancel(struct credentials_reader *reader);

#endif
