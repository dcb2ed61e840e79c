/*
 * A line cut into words: by blanks, but for those inside "double quotes", in
 * which \" and \\ stand for themselves. Pure; works in place.
 */
#ifndef API_CONTROL_WORDS_H
#define API_CONTROL_WORDS_H

#define WORDS_MAX 32

/* Gives the number of words (pointers into `line`), or -1 with *problem set. */
int words_split(char *line, char *words[WORDS_MAX], const char **problem);

#endif
