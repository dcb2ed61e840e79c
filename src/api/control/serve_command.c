/*
 * The command "serve": an NBD server behind two pipes, or a socket, becomes a slot's medium, as a browser behind a
 * WebSocket does. It is for the program that bmcweb starts for a browser (src/hand_over.c), and for whoever else has such a
 * server.
 *
 * bmcweb mixes up what it writes to the program's pipe when too much is waiting there: the buffer of a write that is under
 * way moves when the next message comes. So no more is asked for than its pipe and its buffer hold together, nor more at
 * a time than one of its messages; and since a wrong byte would reach the host, blocks are read twice now and then.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/control/commands.h"
#include "base/log.h"
#include "base/text.h"
#include "net/descriptors.h"
#include "net/socket.h"

#define SERVE_READ_MAX    131072 /* bytes of one READ: an answer of 16 more is the largest message */
#define SERVE_ANSWERS_MAX 262176 /* of unread answers, each with its 16; two of the largest */
#define NO_DESCRIPTORS    "no descriptors came"

struct served {
    struct control_client *client;
    char slot[CONFIG_SLOT_NAME_MAX];
    struct descriptors *descriptors; /* awaited; NULL: not any more */
    struct stream *stream;           /* NULL: not yet, or hung up */
    enum browser_end end;
    char reason[BROWSER_REASON_MAX * 2];
};

/* The program's own error stream may lead nowhere, so the log has it too. */
static void serve_refuse(struct served *served, const char *problem)
{
    log_warning(served->slot, "control: what %s has is not served: %s", control_client_peer(served->client)->from, problem);
    control_error(served->client, "%s: %s", served->slot, problem);
    mem_free(served);
}

/* --- the medium's callbacks --- */

static void on_serve_ready(void *arg)
{
    struct served *served = arg;
    control_send(served->client, "serving\n");
}

static void on_serve_hang_up(struct stream *stream, enum browser_end end, const char *reason, void *arg)
{
    struct served *served = arg;
    (void)stream;
    served->stream = NULL;
    served->end = end;
    snprintf(served->reason, sizeof served->reason, "%s", reason);
}

/* A browser that stops and one that loads its page anew look alike, and so does a bmcweb that is stopped. */
static enum browser_leave serve_left(struct stream *stream)
{
    (void)stream;
    return BROWSER_LEFT;
}

/* Our descriptors are closed: from now on the client may write to its own. */
static void on_serve_gone(void *arg)
{
    struct served *served = arg;
    if (served->end == BROWSER_EJECTED)
        control_ok(served->client, "%s: %s", served->slot, served->reason);
    else
        control_error(served->client, "%s: %s", served->slot,
                      *served->reason ? served->reason : "the daemon is stopping");
    mem_free(served);
}

static void on_serve_inserted(void *arg, int status, const char *error)
{
    (void)arg, (void)status, (void)error; /* a failure hangs up, and is in the slot's status */
}

/* --- the command --- */

/* NULL when the slot can take it; it may have been taken away by a reload. */
static struct slot *serve_find(const struct served *served, char problem[SLOT_ERROR_MAX])
{
    struct slot *slot = slots_find(control_client_slots(served->client), served->slot);
    if (!slot)
        snprintf(problem, SLOT_ERROR_MAX, "the slot is gone");
    return slot && slot_browser_problem(slot, "", NULL, problem) == 0 ? slot : NULL;
}

static void serve_connect(struct served *served, struct slot *slot, struct stream *stream)
{
    const struct browser_connection connection = {
        .stream = stream,
        .request_max = SERVE_READ_MAX,
        .answers_max = SERVE_ANSWERS_MAX,
        .doubted = true,
        .quiet = true,
        .last_word = true,
        .claim = "",
        .ready = on_serve_ready,
        .hang_up = on_serve_hang_up,
        .left = serve_left,
        .gone = on_serve_gone,
        .arg = served,
    };
    served->stream = stream;
    control_audit(served->client, AUDIT_INSERT, served->slot, "a browser's file");
    control_listen(served->client);
    slot_connect_browser(slot, "", NULL, &connection, NULL, on_serve_inserted, NULL);
}

static void on_serve_descriptors(void *arg, int status, const int fds[DESCRIPTORS])
{
    struct served *served = arg;
    char problem[SLOT_ERROR_MAX];
    served->descriptors = NULL;
    if (status != 0) {
        serve_refuse(served, status == -EINVAL  ? "two descriptors are expected"
                             : status == -EPIPE ? NO_DESCRIPTORS
                                                : strerror(-status));
        return;
    }
    struct slot *slot = serve_find(served, problem);
    if (!slot) {
        close(fds[0]);
        close(fds[1]);
        serve_refuse(served, problem);
        return;
    }
    struct stream *stream = socket_stream_pair(control_client_stream(served->client)->loop, fds[0], fds[1], &status);
    if (stream)
        serve_connect(served, slot, stream);
    else
        serve_refuse(served, status == -EINVAL ? "the descriptors must be a pipe to read and one to write, or a socket"
                                               : strerror(-status));
}

/* The client has gone, as it does when bmcweb ends it, or has said something: that ends it too. */
static void on_serve_client_gone(void *arg)
{
    struct served *served = arg;
    if (served->descriptors) {
        descriptors_cancel(served->descriptors);
        serve_refuse(served, NO_DESCRIPTORS);
    } else if (served->stream) {
        socket_cut(served->stream);
    }
}

void serve_command(struct control_client *client, int count, char **words)
{
    struct slot *slot = control_find_slot(client, words[0]);
    struct slot_status s;
    char problem[SLOT_ERROR_MAX];
    int status;
    (void)count;
    if (!slot)
        return;
    struct served *served = mem_alloc(sizeof *served);
    slot_get_status(slot, &s);
    served->client = client;
    snprintf(served->slot, sizeof served->slot, "%s", s.name);
    if (!serve_find(served, problem)) {
        serve_refuse(served, problem);
        return;
    }
    control_hold(client, on_serve_client_gone, served);
    served->descriptors = descriptors_take(control_client_stream(client), on_serve_descriptors, served, &status);
    if (served->descriptors)
        control_send(client, "descriptors\n");
    else
        serve_refuse(served, strerror(-status));
}
