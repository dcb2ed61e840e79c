/*
 * `nbd-proxy ctl`, and `nbd-proxyctl`: a client of the control socket for people and scripts. nbd-proxyctl(1).
 * It blocks, and has no loop.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#define CTL_PROGRAM "nbd-proxyctl"

enum ctl_exit {
    CTL_OK = 0,
    CTL_REFUSED = 1,     /* the daemon's answer is an error */
    CTL_USAGE = 2,       /* the command line, a file or a word of it is wrong; the daemon was not asked */
    CTL_UNREACHABLE = 3, /* no daemon, or none that lets us in */
    CTL_LOST = 4,        /* the daemon went away before it had answered */
};

/* `argv[0]` is whatever; behind it are the options and the command. Returns the exit code. */
int ctl_command(int argc, char **argv);

#endif
