/*
 * How a start divides the rights that it was given: the helper (helper/helper.h) has them from then on, and the daemon
 * fewer and fewer (helper/rights.h). In the order of the calls:
 *
 *   daemon_rights_part()        before any thread is there: the helper is forked, or reached; the daemon becomes its
 *                               user, and what it must write to is that user's
 *   daemon_rights_use_helper()  with the loop: what needs rights is asked of the helper
 *   daemon_rights_drop()        all that a start opens is open: no right is left
 *
 * A process that a service manager started as a helper calls daemon_rights_serve() instead of all of them.
 */
#ifndef DAEMON_RIGHTS_H
#define DAEMON_RIGHTS_H

#include "arguments.h"
#include "helper/rights.h"

/* Fills `user`, who serves. False: it could not be done, and stderr says why. */
bool daemon_rights_part(struct arguments *arguments, const struct config *config, struct rights_user *user);
void daemon_rights_use_helper(uv_loop_t *loop);
void daemon_rights_drop(const struct arguments *arguments, const struct rights_user *user);
__attribute__((noreturn)) void daemon_rights_serve(struct arguments *arguments, const struct config *config);

#endif
