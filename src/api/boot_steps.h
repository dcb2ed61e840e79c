/*
 * What may follow an insert: the host's next boot is from the medium, once, and the
 * host is reset. The medium stays in whatever becomes of that. Who asks for the same insert
 * again while these steps run, as clients do that have waited for too long, gets their answer: the host is reset once.
 * Private to api/.
 */
#ifndef API_BOOT_STEPS_H
#define API_BOOT_STEPS_H

#include "host/host.h"
#include "slot/slot.h"

#define BOOT_STEPS_ERROR_MAX (HOST_ERROR_MAX + 128)

/* Belongs to its caller, who must keep it until `done`, which comes exactly once, later. */
struct boot_steps {
    bool boot_once, reset; /* what is wanted */
    enum host_reset type;  /* of the reset */
    void (*done)(struct boot_steps *steps);

    int status; /* as of a struct host_request */
    /* Which step failed, and what was done before: "the medium is inserted, but ...". */
    char error[BOOT_STEPS_ERROR_MAX];

    struct host *host; /* private from here on */
    uint64_t medium;   /* slot_status's */
    struct host_boot boot; /* what is set; zero: nothing is */
    struct host_request request;
};

bool boot_steps_wanted(const struct boot_steps *steps);
/* True: the wanted steps can't be done, as far as is known before the insert, and `error` says why. */
bool boot_steps_problem(struct boot_steps *steps, struct host *host, const struct slot_status *slot,
                        char error[HOST_ERROR_MAX]);
/* Writes the audit log's lines for the steps that are wanted; `user`, `peer`: who wants them. */
void boot_steps_audit(const struct boot_steps *steps, const char *slot, const char *user, const char *peer);
/* Runs the steps, now that the medium is in. */
void boot_steps_run(struct boot_steps *steps, struct host *host, const struct slot_status *slot);

#endif
