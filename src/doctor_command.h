/* `nbd-proxy doctor`: its options, and the configuration that it looks at, which is checked as --check-config does. */
#ifndef DOCTOR_COMMAND_H
#define DOCTOR_COMMAND_H

/* `argv[0]` is whatever. 0: nothing is wrong; 1: something is; 2: a bad option. */
int doctor_command(int argc, char **argv);

#endif
