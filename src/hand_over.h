/*
 * "nbd-proxy MEDIA", as a stock bmcweb starts it for a browser's file, in place of jsnbd's program: NBD on standard input
 * and output, behind which is the browser. The process gives both to the daemon that runs (the control socket's command
 * "serve") and stays until it is ended. It neither reads nor writes them meanwhile, and waits for nothing but the
 * daemon: bmcweb, the BMC's whole web server, stands still from its SIGTERM until the process is gone, so that signal
 * ends it at once, and the daemon takes the medium out by itself.
 *
 * When the daemon ends the medium first, or dies, bmcweb must not lose its program in the middle of an answer: then the
 * browser is told (DISC), what still comes of it is dropped, and the process waits for the signal, or the end of its input.
 */
#ifndef HAND_OVER_H
#define HAND_OVER_H

#include "config/config.h"

/* Returns the exit code: 0 once the input has ended; 1 when the daemon refuses, 69 when there is none. stderr and the
 * system's log say why. */
int hand_over(const char *media, const struct config *config);
/* To stderr and the system's log: bmcweb lets the one lead nowhere. */
__attribute__((format(printf, 1, 2))) void hand_over_say(const char *format, ...);
/* Prints what jsnbd's program does: a JSON object with the metadata of each medium. */
void hand_over_print_metadata(const struct config *config);

#endif
