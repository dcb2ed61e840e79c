/*
 * What may follow an insert: the host's next boot is from the medium, once, and the
 * host is reset. The medium stays in whatever becomes of that. Private to api/.
 */
#ifndef API_BOOT_STEPS_H
#define API_BOOT_STEPS_H

#include "host/host.h"
#include "slot/slot.h"

#define BOOT_STEPS_ERROR_MAX (HOST_ERROR_MAX + 128)

/* Its owner's until `done`, which comes exactly once, later. */
struct boot_steps {
    bool boot_once, reset; /* what is wanted */
    enum host_reset type;  /* of the reset */
    void (*done)(struct boot_steps *steps);

    int status; /* as of a struct host_request */
    /* Which step failed, and what was done before: "the medium is inserted, but ...". */
    char error[BOOT_STEPS_ERROR_MAX];

    struct host *host; /* private from here on */
    struct host_request request;
};

bool boot_steps_wanted(const struct boot_steps *steps);
/* What is against them, as far as is known before the insert; false: nothing. */
bool boot_steps_problem(struct boot_steps *steps, struct host *host, const struct slot_status *slot,
                        char error[HOST_ERROR_MAX]);
/* The audit log's lines for those that are wanted; `user`, `peer`: who wants them. */
void boot_steps_audit(const struct boot_steps *steps, const char *slot, const char *user, const char *peer);
/* The medium is in. */
void boot_steps_run(struct boot_steps *steps, struct host *host, const struct slot_status *slot);

#endif
