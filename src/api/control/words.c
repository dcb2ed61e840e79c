#include "api/control/words.h"

#include <stddef.h>

static int problem_is(const char **problem, const char *text)
{
    *problem = text;
    return -1;
}

/* Copies the text in quotes to *to; gives the byte after the closing quote, or NULL. */
static char *unquote(char *from, char **to)
{
    for (; *from && *from != '"'; from++) {
        if (*from == '\\' && (from[1] == '"' || from[1] == '\\'))
            from++;
        *(*to)++ = *from;
    }
    return *from ? from + 1 : NULL;
}

int words_split(char *line, char *words[WORDS_MAX], const char **problem)
{
    int count = 0;
    for (char *from = line;;) {
        while (*from == ' ' || *from == '\t')
            from++;
        if (*from == '\0')
            return count;
        if (count == WORDS_MAX)
            return problem_is(problem, "the line has too many words");
        char *to = words[count++] = from;
        while (*from && *from != ' ' && *from != '\t') {
            if (*from != '"') {
                *to++ = *from++;
                continue;
            }
            from = unquote(from + 1, &to);
            if (!from)
                return problem_is(problem, "a quote is not closed");
        }
        from += *from != '\0';
        *to = '\0';
    }
}
