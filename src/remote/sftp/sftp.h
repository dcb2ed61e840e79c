/*
 * An image on an SFTP server, by libssh2: a client of remote/remote.h by lines (remote/lines.h).
 *
 * Who the server is, is checked before anything is told it (remote/sftp/hosts.h). We log in with a key
 * from a file or a password: no agent is asked, and nothing is read from a home folder.
 *
 * A file that is open stays what it is when another takes its name; one that is written to in
 * place shows by its size and time.
 */
#ifndef REMOTE_SFTP_SFTP_H
#define REMOTE_SFTP_SFTP_H

#include "remote/lines.h"

/* Strings may be NULL or "" for none; they are copied. */
struct sftp_options {
    struct lines_options lines;
    bool verify;             /* the server's key */
    const char *known_hosts; /* a file as OpenSSH has it; beside it or alone: */
    const char *host_key;    /* fingerprints, SHA256:..., separated by blanks */
    const char *key;         /* a file with our private key, without a pass phrase */
    unsigned connections;    /* ranges in flight; more than LINES_MAX are not made use of */
};

struct source *sftp_source_new(uv_loop_t *loop, const char *who, const struct sftp_options *options);

#endif
