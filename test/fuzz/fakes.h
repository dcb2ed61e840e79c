/*
 * What stands behind a door (Redfish, the control socket) that a target knocks at: two slots and a host. They take what is
 * asked of them, and answer when they are told to, as the input says. They stand in for libslot's and libhost's
 * functions of the same names, so a target with them links neither.
 */
#ifndef TEST_FUZZ_FAKES_H
#define TEST_FUZZ_FAKES_H

#include "host/host.h"
#include "slot/slots.h"

#define FAKE_SLOTS 2u

enum fake_medium { FAKE_EMPTY, FAKE_FROM_URL, FAKE_FROM_BROWSER, FAKE_OPENING };

struct fakes {
    enum fake_medium medium; /* in the first slot; the second one is empty */
    int status;              /* of what is asked for: 0, or a negative errno */
    bool host;               /* one is configured */
    bool removed;            /* the slots are no more once the first thing is answered: the configuration was read again */
    bool may_insert;         /* whoever asks; else that would be a hole */
    bool may_manage;         /* the same: may say as whom an NFS server is asked */
};

void must(bool condition); /* else it ends as a finding */

/* Nothing may be left unanswered from before. */
void fakes_begin(const struct fakes *fakes);
/* Answers one thing that was asked for; false: nothing was. */
bool fakes_answer(void);
struct slots *fakes_slots(void);
struct host *fakes_host(void);

#endif
