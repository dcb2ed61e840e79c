/* What the tests of the auth layer share: a folder, users files with cheap hashes, a
 * loop, a clock that the test moves, and the log's lines. */
#ifndef TEST_ACCOUNTS_H
#define TEST_ACCOUNTS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "auth/users.h"

#define CHEAP 1 /* yescrypt's cost in tests */

struct place {
    char folder[64], path[80]; /* the users file in it */
    uv_loop_t loop;
    uint64_t now; /* the clock of place_now() */
};

void place_make(struct place *place);
/* Runs the loop to its end, closes it, removes the folder. All must be closed. */
void place_remove(struct place *place);
uint64_t place_now(void *arg);
void place_write(const struct place *place, const char *text, unsigned mode);
char *place_read(const struct place *place); /* the users file; free() it */
/* "name:hash:role:state\n" for a password; static, good until the eighth next call. */
const char *account(const char *name, const char *password, const char *role, const char *state);
/* Turns the loop until the condition holds; fails the test after 20 s. */
void place_run_until(struct place *place, bool (*condition)(void *arg), void *arg);
void place_run_for(struct place *place, unsigned ms);
void mark_closed(void *arg); /* *(bool *)arg = true */
bool is_true(void *arg);

/* From now on stderr goes to a file; what it got since, and back. */
void log_capture(void);
char *log_captured(void); /* free() it */

#endif
