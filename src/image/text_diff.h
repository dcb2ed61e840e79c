/* How one text differs from another, line by line, as a unified diff without context has it. Pure. */
#ifndef IMAGE_TEXT_DIFF_H
#define IMAGE_TEXT_DIFF_H

#include <stddef.h>
#include <stdio.h>

/* Characters that a terminal would obey are shown as "?". */
void text_diff(FILE *out, const char *before, size_t before_length, const char *after, size_t after_length);

#endif
