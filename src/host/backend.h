/*
 * What does the host's work: private to host/. A back-end is given one request at
 * a time and answers each once, never inside the call, with backend->done(); for a
 * HOST_GET that succeeded, `state` has power, boot, boot_told and what the platform can
 * do.
 */
#ifndef HOST_BACKEND_H
#define HOST_BACKEND_H

#include "host/host.h"

struct host_backend {
    const struct host_backend_ops *ops;
    /* The owner's. */
    void (*done)(struct host_backend *backend, int status, const char *error, const struct host_state *state);
    void (*closed)(struct host_backend *backend); /* the back-end is freed already */
    struct host *owner;
};

struct host_backend_ops {
    void (*run)(struct host_backend *backend, const struct host_request *request);
    /* The running request ends soon, with -ECANCELED unless it has ended otherwise. */
    void (*cancel)(struct host_backend *backend);
    /* Frees a back-end that runs nothing; `closed` comes later. */
    void (*close)(struct host_backend *backend);
};

#endif
