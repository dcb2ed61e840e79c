/*
 * What the daemon may ask of its helper: requests of one fixed size, checked field by field before anything is done
 * with them. Both sides are one binary and the helper is forked from it, so a request is the struct itself. Texts are
 * bounded, end with a NUL, and have a fixed form; no path is ever in a request: the helper makes them from numbers
 * and names of ours. A gadget's name that is not of ours must be one of the configuration's (server.c).
 *
 * Sockets travel beside the request (SCM_RIGHTS): the call's own, on which the answer comes, and those that the
 * operation is about.
 */
#ifndef HELPER_MESSAGE_H
#define HELPER_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/password.h"
#include "auth/users_file.h"
#include "host/host.h"
#include "kernel/kernel.h"

#define HELPER_FDS_MAX  KERNEL_CONNECTIONS_MAX /* beside the call's own */
#define HELPER_PEER_MAX 128 /* an address */

#define HELPER_GADGET_PREFIX "nbd-proxy-" /* of names that are ours */

enum helper_op {
    HELPER_NBD_CONNECT,
    HELPER_NBD_RECONNECT,
    HELPER_NBD_DISCONNECT,
    HELPER_GADGET_PREPARE,
    HELPER_GADGET_INSERT,
    HELPER_GADGET_EJECT,
    HELPER_GADGET_REMOVE,
    HELPER_LOW_PORT, /* 1 fd: a TCP socket that gets a port below 1024 (net/low_port.h), which one is not ours to say */
    HELPER_BMCWEB,   /* a connection to Slot_N.sock in the folder of the configuration that the helper was made with */
    HELPER_HOOK,     /* 2 fds: the pipes for stdout and stderr; see struct hook_starter; hook_end comes back */
    HELPER_PASSWORD, /* the status is 0 when PAM accepts the password, else -EACCES */
    HELPER_ACCOUNTS, /* no fd: a struct system_accounts comes behind the answer, when its status is 0 */
    HELPER_SETTINGS, /* without a call's own socket or an answer: the helper reads its settings anew */
    HELPER_OPS
};

struct helper_nbd {
    uint64_t size;
    uint32_t index, block_size, flags, timeout_s, dead_timeout_s, read_ahead_kb;
    char backend[KERNEL_NAME_MAX];
};

struct helper_gadget {
    char name[KERNEL_NAME_MAX];
    char function[32];
    char manufacturer[64], product[64], serial[64], inquiry[29], udc[128];
    char filler[3]; /* 0 */
    uint32_t vendor_id, product_id, max_power_ma;
    uint32_t cdrom, always_present;
    uint32_t device, medium_cdrom, read_only, no_fua; /* of an insert */
    uint32_t patience_ms;                             /* of an eject */
};

struct helper_hook {
    uint32_t verb, reset, target, enabled, mode;
};

struct helper_password {
    char name[USER_NAME_MAX + 1], password[PASSWORD_MAX + 1], peer[HELPER_PEER_MAX];
};

struct helper_request {
    uint32_t op;
    uint32_t fds; /* how many descriptors come with it, beside the call's own */
    union {
        struct helper_nbd nbd;
        struct helper_gadget gadget;
        struct helper_hook hook;
        struct helper_password password;
        uint32_t slot; /* of HELPER_BMCWEB */
    };
};

/* The last word on a call's own socket; of HELPER_BMCWEB with the connection beside it. */
struct helper_reply {
    int32_t status; /* 0 or a negative errno, then `error` has words */
    char error[KERNEL_ERROR_MAX];
};

/* What the helper says first, once, on the pair itself: what it may do. */
struct helper_hello {
    int32_t may_nbd, may_gadget; /* as of kernel_may_nbd() and kernel_may_gadget(), with words */
    char nbd_error[KERNEL_ERROR_MAX], gadget_error[KERNEL_ERROR_MAX];
};

/* Pure. `size` bytes with `fds` sockets beside the call's own came: are they a request? */
bool helper_request_check(const void *data, size_t size, unsigned fds);

void helper_nbd_pack(struct helper_nbd *to, const struct kernel_nbd *nbd);
void helper_gadget_pack(struct helper_gadget *to, const struct kernel_gadget *gadget, const struct kernel_medium *medium);
/* For requests that helper_request_check() has passed. */
void helper_nbd_unpack(const struct helper_nbd *from, struct kernel_nbd *nbd);
void helper_gadget_unpack(const struct helper_gadget *from, struct kernel_gadget *gadget, struct kernel_medium *medium);
void helper_hook_unpack(const struct helper_hook *from, struct host_request *request);

#endif
