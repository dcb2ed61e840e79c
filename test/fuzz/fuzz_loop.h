/*
 * The loop of a fuzz target, one for all its inputs: to make one for each input
 * costs more system calls than most inputs.
 */
#ifndef TEST_FUZZ_LOOP_H
#define TEST_FUZZ_LOOP_H

#include <uv.h>

/* With its queue of deferrals. */
uv_loop_t *fuzz_loop(void);
/* Runs what was deferred. Ends the program if anything is left on the loop after that: the input left it there. */
void fuzz_loop_must_be_empty(void);

#endif
