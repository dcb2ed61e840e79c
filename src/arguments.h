/*
 * The command line, and the configuration that comes of it: the file's, or the defaults, and over that each --set.
 * The configuration is made at the start, at each reload, and by the helper for itself.
 */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

#include <stdbool.h>

#include "config/config.h"
#include "host/host.h"

#define ARGUMENTS_SETS_MAX 64

struct arguments {
    const char *file;                     /* NULL: no file */
    const char *sets[ARGUMENTS_SETS_MAX]; /* copies: a secret among them must not stay in the process's argument list */
    unsigned set_count;
    const char *media;  /* the slot that is to serve stdin and stdout; NULL: the daemon is meant */
    const char *helper; /* the socket of a helper that runs already; NULL: one is forked */
    bool check, dump, metadata, serve_helper;
};

/* -1: go on; else the exit code, since what was asked for is done, or what is wrong is said. */
int arguments_read(struct arguments *arguments, int argc, char **argv);
/* What they are is copied, and hidden in argv; arguments_read() does that. For who reads the command line otherwise. */
void arguments_hide_sets(struct arguments *arguments);
void arguments_clear(struct arguments *arguments);
/* Returns 0; or -1 with what is wrong, and `config` needs no config_free() then. */
int arguments_configure(const struct arguments *arguments, struct config *config, char error[CONFIG_ERROR_MAX]);
/* What a configuration says of the host; the hook is started by the helper. */
struct host_options arguments_host(const struct config *config);

#endif
