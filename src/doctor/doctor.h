/*
 * `nbd-proxy doctor`: is all there that the daemon of this configuration needs? By the same code as the daemon's where there is
 * any: the kernel's checks, the configuration's, and the sources that it would make. It changes nothing, and blocks.
 */
#ifndef DOCTOR_DOCTOR_H
#define DOCTOR_DOCTOR_H

#include "config/config.h"
#include "doctor/findings.h"

/* Modules, controllers, rights, clock, memory. */
void doctor_machine(struct findings *findings, const struct config *config);
/* The control socket, addresses, certificates, accounts. */
void doctor_doors(struct findings *findings, const struct config *config);
/* The images of the configuration, and these of the command line. */
void doctor_sources(struct findings *findings, const struct config *config, char *const *urls);
/* Texts by their names. `config` may be NULL: it could not be read. */
json_t *doctor_report(const struct config *config);

#endif
