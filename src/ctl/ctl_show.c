#include "ctl/ctl_show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl/ctl.h"

static bool coloured, errors_coloured;

static bool terminal_has_colours(int fd)
{
    const char *none = getenv("NO_COLOR"), *kind = getenv("TERM");
    return isatty(fd) && !(none && *none) && !(kind && strcmp(kind, "dumb") == 0);
}

void ctl_show_setup(enum ctl_colours colours)
{
    coloured = colours == CTL_COLOURS_ALWAYS || (colours == CTL_COLOURS_AUTO && terminal_has_colours(STDOUT_FILENO));
    errors_coloured = colours == CTL_COLOURS_ALWAYS || (colours == CTL_COLOURS_AUTO && terminal_has_colours(STDERR_FILENO));
}

const char *ctl_green(void)
{
    return coloured ? "\033[32m" : "";
}

const char *ctl_yellow(void)
{
    return coloured ? "\033[33m" : "";
}

const char *ctl_bold(void)
{
    return coloured ? "\033[1m" : "";
}

const char *ctl_plain(void)
{
    return coloured ? "\033[0m" : "";
}

static const char *line_colour(const char *line)
{
    const char *text = line + strspn(line, " ");
    if (strncmp(text, "warning:", 8) == 0 || strncmp(text, "last error:", 11) == 0 || strncmp(text, "tries again", 11) == 0)
        return ctl_yellow();
    if (strncmp(line, "#  ", 3) == 0) /* the heads of the table */
        return ctl_bold();
    return strstr(line, " ready ") ? ctl_green() : "";
}

void ctl_show_line(const char *line)
{
    const char *colour = line_colour(line);
    printf("%s%s%s\n", colour, line, *colour ? ctl_plain() : "");
}

void ctl_show_json(const char *line)
{
    for (; *line; line++) {
        unsigned char byte = (unsigned char)line[0], next = (unsigned char)line[1];
        bool c1 = byte == 0xc2 && next >= 0x80 && next < 0xa0;
        if (c1 || byte == 0x7f)
            printf("\\u%04x", c1 ? next : byte);
        else
            putchar(*line);
        line += c1;
    }
    putchar('\n');
}

void ctl_show_error(const char *text)
{
    fflush(stdout);
    fprintf(stderr, CTL_PROGRAM ": %s%s%s\n", errors_coloured ? "\033[31m" : "", text, errors_coloured ? "\033[0m" : "");
}

int ctl_show_width(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}
