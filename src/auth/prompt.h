/*
 * Reads a password: from a terminal without echo, with a prompt on it; else one
 * line of stdin. Blocks.
 */
#ifndef AUTH_PROMPT_H
#define AUTH_PROMPT_H

#include <stdbool.h>
#include <stddef.h>

/* One line of stdin without its end. False and why: the input ended, or the line is
 * too long or has a NUL byte. `prompt` is shown (on stderr) when stdin is a terminal.
 * A signal that would end the process does so with the echo on again. */
bool prompt_password(const char *prompt, char *to, size_t size, const char **why);
bool prompt_is_terminal(void);

#endif
