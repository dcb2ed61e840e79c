/*
 * Folders that a service does not have, or has of its own: systemd's PrivateTmp and ProtectHome (systemd.exec(5)). What is there
 * for everybody else is missing for the daemon, which is to be said. Blocks on /proc.
 */
#ifndef SOURCE_HIDDEN_H
#define SOURCE_HIDDEN_H

/* What to say behind the error of a path that can't be opened; NULL: its folder is everybody's. */
const char *hidden_hint(const char *path);
/* The same by a table of mounts: the text of /proc/PID/mountinfo. */
const char *hidden_hint_in(const char *path, const char *mounts);

#endif
