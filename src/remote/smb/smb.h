/*
 * An image on a share of an SMB2 or SMB3 server: a client of remote/remote.h.
 *
 * A probe opens a connection of its own (remote/smb/connection.h); once its image is adopted the ranges go there. When a
 * connection breaks, ranges wait for the probe of the next one. The version is size, last write,
 * change and the file's number; all are asked for again after the data of each range.
 */
#ifndef REMOTE_SMB_SMB_H
#define REMOTE_SMB_SMB_H

#include "net/address.h"
#include "remote/remote.h"

struct smb_source_options {
    const char *url;             /* "smb://host[:port]/share/path", percent-encoded UTF-8; else opening says what is wrong */
    const char *user, *password; /* NULL or "": a guest. The user may be DOMAIN\user, DOMAIN/user, user@domain */
    bool must_seal;              /* no message about the share may go in clear */
    enum address_local local;
    unsigned requests; /* ranges in flight, 1..REMOTE_REQUESTS_MAX */
    uint64_t connect_timeout_ms, stall_timeout_ms, io_timeout_ms;
};

struct source *smb_source_new(uv_loop_t *loop, const char *who, const struct smb_source_options *options);

#endif
