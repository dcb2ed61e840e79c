/* A host with a hook that is a shell script in a folder of its own, and a loop for it. */
#ifndef TEST_HOST_RIG_H
#define TEST_HOST_RIG_H

#include "host/host.h"

struct rig {
    uv_loop_t loop;
    struct host *host; /* NULL: not started */
    char folder[64], hook[80];
    unsigned closed;
};

/* A request, and how often it has ended. */
struct asked {
    struct host_request request;
    unsigned done;
};

/* cmocka's fixtures: the state is a struct rig. The end closes the host, and sees that nothing is left. */
int rig_setup(void **state);
int rig_teardown(void **state);

/* Writes the hook: it notes its arguments in the file "calls", then does what `body` says, in its folder. */
void rig_hook(struct rig *rig, const char *body);
/* Starts the host; has_answered: and waits until the hook has told its state for the first time. */
void rig_start(struct rig *rig, uint64_t timeout_ms, bool has_answered);
/* Closes the host, and waits for that. */
void rig_close(struct rig *rig);
void rig_ask(struct rig *rig, struct asked *asked, const struct host_request *request);
/* Asks and waits; gives the status. */
int rig_do(struct rig *rig, struct asked *asked, const struct host_request *request);
int rig_get(struct rig *rig);
int rig_reset(struct rig *rig, enum host_reset reset);
int rig_boot(struct rig *rig, enum host_target target, enum host_enabled enabled);
/* Runs the loop until the number is that large. */
void rig_wait(struct rig *rig, const unsigned *number, unsigned least);
/* Runs the loop for that long. */
void rig_pass(struct rig *rig, unsigned milliseconds);
/* A file of the folder; "" when it is not there. For free(). */
char *rig_read(struct rig *rig, const char *name);
void rig_expect_file(struct rig *rig, const char *name, const char *text);
void rig_remove(struct rig *rig, const char *name);

#endif
