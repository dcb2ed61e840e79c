#include "auth/prompt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const int stopping[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
#define STOPPING (sizeof stopping / sizeof stopping[0])

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught = number;
}

bool prompt_is_terminal(void)
{
    return isatty(STDIN_FILENO);
}

/* Signals are let in only here: one that came just before a read() would not interrupt it. */
static void wait_for_input(const sigset_t *open)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!caught && ppoll(&in, 1, NULL, open) < 0 && errno == EINTR)
        ;
}

/* Byte by byte, so that nothing behind the line is taken. `open`: the mask of signals to wait with; NULL: signals
 * are not waited for. */
static bool read_line(char *to, size_t size, const sigset_t *open, const char **why)
{
    size_t used = 0;
    for (;;) {
        char byte;
        if (open)
            wait_for_input(open);
        if (caught) {
            *why = "interrupted";
            return false;
        }
        ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || (n == 0 && used == 0)) {
            *why = "no password was given";
            return false;
        }
        if (n == 0 || byte == '\n')
            break;
        if (byte == '\0' || used + 1 == size) {
            *why = byte == '\0' ? "the password has a NUL byte" : "the password is too long";
            return false;
        }
        to[used++] = byte;
    }
    to[used] = '\0';
    return true;
}

static bool read_hidden(const char *prompt, char *to, size_t size, const char **why)
{
    struct termios before, hidden;
    struct sigaction old[STOPPING], action = {.sa_handler = on_signal};
    sigset_t stops, open;
    if (tcgetattr(STDIN_FILENO, &before) != 0) {
        *why = strerror(errno);
        return false;
    }
    sigemptyset(&stops);
    for (unsigned i = 0; i < STOPPING; i++)
        sigaddset(&stops, stopping[i]);
    sigprocmask(SIG_BLOCK, &stops, &open);
    for (unsigned i = 0; i < STOPPING; i++)
        sigaction(stopping[i], &action, &old[i]);
    hidden = before;
    hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    fputs(prompt, stderr);
    bool ok = read_line(to, size, &open, why);
    fputc('\n', stderr);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    for (unsigned i = 0; i < STOPPING; i++)
        sigaction(stopping[i], &old[i], NULL);
    sigprocmask(SIG_SETMASK, &open, NULL);
    if (caught)
        raise(caught);
    return ok && !caught;
}

bool prompt_password(const char *prompt, char *to, size_t size, const char **why)
{
    *why = NULL;
    caught = 0;
    bool ok = prompt_is_terminal() ? read_hidden(prompt, to, size, why) : read_line(to, size, NULL, why);
    if (ok)
        return true;
    if (!*why)
        *why = "interrupted";
    explicit_bzero(to, size);
    return false;
}
