/*
 * Tells the slots when the host is on and when it is off, while one of them has a medium that stays until the host is
 * off: then the platform is asked every POWER_WATCH_MS. Private to api/ and to what starts the daemon.
 */
#ifndef API_POWER_WATCH_H
#define API_POWER_WATCH_H

#include "host/host.h"
#include "slot/slots.h"

#define POWER_WATCH_MS 3000

struct power_watch;

/* The slots and the host must last until power_watch_close() is called. */
struct power_watch *power_watch_new(uv_loop_t *loop, struct slots *slots, struct host *host);
/* The host must be closed too, at about the same time: it ends what is under way. Frees itself, then `closed`. */
void power_watch_close(struct power_watch *watch, void (*closed)(void *arg), void *arg);

/* Why a medium of that slot can't be one that stays until that: words with what to do; NULL: it can. */
const char *power_watch_problem(const struct host *host, const struct slot_status *slot, enum slot_until until);

#endif
