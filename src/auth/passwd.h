/*
 * `nbd-proxy passwd`: adds, changes and removes accounts in the users file, with
 * the daemon running or not. `argv[0]` is "passwd". Gives the exit code: 0; 1: it
 * could not be done; 2: bad arguments. It blocks, and runs without a loop.
 */
#ifndef AUTH_PASSWD_H
#define AUTH_PASSWD_H

#define PASSWD_FILE LOCALSTATEDIR "/lib/nbd-proxy/users"

int passwd_command(int argc, char **argv);

#endif
