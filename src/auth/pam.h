/*
 * The system's own accounts, by PAM (service "nbd-proxy"), for users whose hash is
 * "pam"; their role and state are the users file's. Only in a build --with-pam,
 * and off by default: a PAM module may start processes and wait for a network.
 * pam_check() blocks, so it runs on a work thread; calls run one after the other,
 * since not every module may run twice at once.
 */
#ifndef AUTH_PAM_H
#define AUTH_PAM_H

#include <stdbool.h>

#define PAM_SERVICE_NAME "nbd-proxy"

/* `folder`: where the service's file is, NULL: /etc/pam.d. False also in a build
 * without PAM. */
bool pam_check(const char *folder, const char *name, const char *password, const char *peer);

#endif
