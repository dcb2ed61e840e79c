#include "hand_over.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#include "api/control/control.h"
#include "base/text.h"
#include "nbd/wire.h"
#include "net/descriptors.h"

#define ANSWER_MAX 1200 /* bytes of a line of the daemon's */

struct hand_over {
    int control;
    char line[ANSWER_MAX];
    size_t used;
    bool serving; /* the browser takes requests, so DISC ends it */
};

void hand_over_say(const char *format, ...)
{
    char text[ANSWER_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "nbd-proxy: %s\n", text);
    openlog("nbd-proxy", LOG_PID, LOG_DAEMON);
    syslog(LOG_ERR, "%s", text);
    closelog();
}

/* Whatever the parent does with its signals, SIGTERM ends this process, and a pipe that nobody reads does not. */
static void let_sigterm_end(void)
{
    sigset_t none;
    sigemptyset(&none);
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* --- the daemon --- */

/* Not connected at once is not connected: a UNIX socket whose queue is full would keep us waiting. */
static bool reach_daemon(struct hand_over *h, const struct config *config)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char *path = control_socket_path(config);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    h->control = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool reached = h->control >= 0 && connect(h->control, (const struct sockaddr *)&address, sizeof address) == 0;
    if (!reached)
        hand_over_say("the daemon can't be reached at %s: %s (is it running, with the same configuration?)", path,
                      strerror(errno));
    mem_free(path);
    return reached;
}

static bool send_command(struct hand_over *h, const char *media)
{
    char line[CONFIG_SLOT_NAME_MAX + 16];
    int length = snprintf(line, sizeof line, "serve %s\n", media);
    return send(h->control, line, (size_t)length, MSG_NOSIGNAL) == length;
}

static bool send_descriptors(const struct hand_over *h)
{
    static const int fds[DESCRIPTORS] = {STDIN_FILENO, STDOUT_FILENO};
    union {
        char bytes[CMSG_SPACE(sizeof fds)];
        struct cmsghdr align;
    } room = {.bytes = ""};
    struct iovec vector = {(char[]){'\n'}, 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = room.bytes, .msg_controllen = sizeof room.bytes};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fds), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(head), fds, sizeof fds);
    return sendmsg(h->control, &message, MSG_NOSIGNAL) == 1;
}

/* What comes of the daemon, up to and without the end of a line. False: it has gone. */
static bool read_answer_line(struct hand_over *h)
{
    struct pollfd poller = {.fd = h->control, .events = POLLIN};
    h->used = 0;
    for (;;) {
        char byte;
        ssize_t n = recv(h->control, &byte, 1, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (n < 0) {
            poll(&poller, 1, -1);
        } else if (byte == '\n') {
            h->line[h->used] = '\0';
            return true;
        } else if (h->used + 1 < sizeof h->line) {
            h->line[h->used++] = byte;
        }
    }
}

/* --- the end of a medium --- */

static void drop_input(struct pollfd *input)
{
    char dropped[4096];
    ssize_t n = read(input->fd, dropped, sizeof dropped);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        input->fd = -1;
}

/* A request fits into a pipe whole or not at all (pipe(7), PIPE_BUF). */
static void say_disc(struct pollfd *output)
{
    uint8_t header[NBD_REQUEST_SIZE];
    struct nbd_request request = {.type = NBD_CMD_DISC};
    nbd_encode_request(header, &request);
    if (write(output->fd, header, sizeof header) >= 0 || (errno != EAGAIN && errno != EINTR))
        output->fd = -1;
}

static void unblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* Until bmcweb ends it, or is gone itself. */
static void wait_for_end(void)
{
    struct pollfd pollers[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = STDOUT_FILENO, .events = POLLOUT}};
    unblock(STDIN_FILENO);
    unblock(STDOUT_FILENO);
    while (pollers[0].fd >= 0) {
        poll(pollers, 2, -1);
        if (pollers[0].revents)
            drop_input(&pollers[0]);
        if (pollers[1].revents)
            say_disc(&pollers[1]);
    }
}

/* --- the whole --- */

/* The last line of the daemon's answer: true; false: it has gone without one, or takes no descriptors. */
static bool follow(struct hand_over *h)
{
    while (read_answer_line(h)) {
        if (strcmp(h->line, "descriptors") == 0 && !send_descriptors(h))
            return false;
        if (strcmp(h->line, "serving") == 0)
            h->serving = true;
        if (strncmp(h->line, "ok", 2) == 0 || strncmp(h->line, "error", 5) == 0)
            return true;
    }
    return false;
}

static int hand_over_ended(const struct hand_over *h, bool answered)
{
    bool ejected = answered && h->line[0] == 'o';
    if (!answered)
        hand_over_say("the daemon has gone");
    else if (!ejected)
        fprintf(stderr, "nbd-proxy: %s\n", h->line); /* the daemon has logged it */
    if (!h->serving)
        return ejected ? EXIT_SUCCESS : answered ? EXIT_FAILURE : EX_UNAVAILABLE;
    wait_for_end();
    return EXIT_SUCCESS;
}

/* A name of the configuration's, so that it is one word of the command. */
static bool is_slot_name(const char *media)
{
    size_t length = strspn(media, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    return length > 0 && length < CONFIG_SLOT_NAME_MAX && media[length] == '\0';
}

int hand_over(const char *media, const struct config *config)
{
    struct hand_over h = {.control = -1};
    let_sigterm_end();
    if (!is_slot_name(media)) {
        hand_over_say("there is no slot of that name");
        return EXIT_FAILURE;
    }
    int code = EX_UNAVAILABLE;
    if (reach_daemon(&h, config)) {
        bool answered = send_command(&h, media) && follow(&h);
        code = hand_over_ended(&h, answered);
    }
    if (h.control >= 0)
        close(h.control);
    return code;
}

void hand_over_print_metadata(const struct config *config)
{
    json_t *all = json_object();
    for (unsigned i = 0; i < config->slot_count; i++) {
        char number[12];
        const struct config_slot *slot = &config->slots[i];
        snprintf(number, sizeof number, "%u", i);
        json_object_set_new(all, number,
                            json_pack("{s:s, s:s, s:s}", "description", "Virtual media device", "slot", slot->name,
                                      "media", slot->media == MEDIA_CD ? "cd" : "disk"));
    }
    char *text = json_dumps(all, 0);
    puts(text);
    mem_free(text);
    json_decref(all);
}
