#include "ctl/ctl_watch.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "ctl/ctl_show.h"

#define BAR_MAX 40
#define BAR_LEAST 12

/* --- a line --- */

struct watch_facts {
    const char *name, *state, *image, *error, *trouble;
    json_int_t size, covered, rate, mean, waiting, reads, waited, rtt_us, next_ms;
};

static json_int_t number_of(const json_t *line, const char *member)
{
    const json_t *value = json_object_get(line, member);
    return json_is_integer(value) && json_integer_value(value) > 0 ? json_integer_value(value) : 0;
}

static const char *watch_text(const json_t *line, const char *member)
{
    const char *text = json_string_value(json_object_get(line, member));
    return text ? text : "";
}

static struct watch_facts read_facts(const json_t *line)
{
    return (struct watch_facts){.name = watch_text(line, "name"),
                                .state = watch_text(line, "state"),
                                .image = watch_text(line, "image_name"),
                                .error = watch_text(line, "error"),
                                .size = number_of(line, "size"),
                                .covered = number_of(line, "covered"),
                                .rate = number_of(line, "rate"),
                                .waiting = number_of(line, "waiting"),
                                .rtt_us = number_of(line, "rtt_us"),
                                .trouble = watch_text(line, "trouble"),
                                .mean = number_of(line, "mean_rate"),
                                .reads = number_of(line, "reads"),
                                .waited = number_of(line, "reads_waited"),
                                .next_ms = number_of(line, "next_try_ms")};
}

/* [#####-----] */
static void draw_bar(double share, int width, char bar[BAR_MAX + 3])
{
    int inside = width > BAR_MAX ? BAR_MAX : width;
    *bar = '\0';
    if (inside < 5)
        return;
    int full = (int)(share * inside + 0.5);
    bar[0] = '[';
    memset(bar + 1, '#', (size_t)full);
    memset(bar + 1 + full, '-', (size_t)(inside - full));
    memcpy(bar + 1 + inside, "]", 2);
}

/* What is said where there is room for it beside the bar; how long it is. */
static int draw_more(const struct watch_facts *f, int room, char more[80])
{
    char trip[40] = "";
    if (f->rtt_us > 0)
        snprintf(trip, sizeof trip, "  rtt %.0f ms", (double)f->rtt_us / 1000);
    int length = snprintf(more, 80, "  %.0f %% waited%s", f->reads ? 100.0 * (double)f->waited / (double)f->reads : 0.0, trip);
    if (length + BAR_LEAST <= room)
        return length;
    *more = '\0';
    return 0;
}

static void draw_ready(const struct watch_facts *f, int width, char *to, size_t size)
{
    char bar[BAR_MAX + 3], whole[TEXT_SIZE_MAX], rate[TEXT_SIZE_MAX], image[64], tail[240], waiting[40] = "";
    char mean[TEXT_SIZE_MAX], more[80];
    double share = f->size ? (double)f->covered / (double)f->size : 0;
    share = share > 1 ? 1 : share;
    text_human_size((uint64_t)f->size, whole);
    text_human_size((uint64_t)f->rate, rate);
    text_human_size((uint64_t)f->mean, mean);
    text_escape(f->image, image, sizeof image);
    if (f->waiting > 0)
        snprintf(waiting, sizeof waiting, "  %" JSON_INTEGER_FORMAT " waiting", f->waiting);
    int tailed = snprintf(tail, sizeof tail, " %.0f %% of %s  %s/s%s  mean %s/s", share * 100, whole, rate, waiting, mean);
    int headed = snprintf(to, size, "%s %s ", f->name, image), added = draw_more(f, width - headed - tailed - 2, more);
    draw_bar(share, width - headed - tailed - added - 2, bar);
    snprintf(to + headed, size - (size_t)headed, "%s%s%s", bar, tail, more);
}

bool ctl_watch_draw(const char *json, int width, char *to, size_t size)
{
    json_t *line = json_loads(json, 0, NULL);
    struct watch_facts f = read_facts(line);
    char error[256], trouble[400];
    bool good = *f.name;
    text_escape(f.error, error, sizeof error);
    text_escape(f.trouble, trouble, sizeof trouble);
    if (*trouble)
        snprintf(to, size, "%s %s, %s", f.name, f.state, trouble);
    else if (strcmp(f.state, "ready") == 0)
        draw_ready(&f, width, to, size);
    else if (f.next_ms > 0)
        snprintf(to, size, "%s %s, tries again in %" JSON_INTEGER_FORMAT " s", f.name, f.state, (f.next_ms + 999) / 1000);
    else
        snprintf(to, size, "%s %s%s%s", f.name, f.state, *error ? ": " : "", error);
    if (good && width > 0 && strlen(to) > (size_t)width) /* one line, so that it can be drawn over */
        to[width] = '\0';
    json_decref(line);
    return good;
}

/* --- until it ends --- */

static volatile sig_atomic_t watch_interrupted;

static void on_watch_signal(int number)
{
    (void)number;
    watch_interrupted = 1;
}

static void draw_again(const char *json)
{
    char text[512];
    if (ctl_watch_draw(json, ctl_show_width() - 1, text, sizeof text))
        printf("\r%s\033[K", text);
    fflush(stdout);
}

/* What was typed ends it, or that nobody can type any more; nobody types who has no terminal. */
static bool somebody_typed(const struct pollfd *typed)
{
    char dropped[256];
    if (typed->revents && read(typed->fd, dropped, sizeof dropped) < 0)
        return true;
    return typed->revents;
}

/* Waits for one of both; false: the watch is to end. */
static bool wait_for_more(struct ctl_connection *c, const sigset_t *open)
{
    struct pollfd both[] = {{.fd = c->fd, .events = POLLIN}, {.fd = isatty(STDIN_FILENO) ? STDIN_FILENO : -1, .events = POLLIN}};
    while (!watch_interrupted && ppoll(both, 2, NULL, open) < 0 && errno == EINTR)
        continue;
    return !watch_interrupted && !somebody_typed(&both[1]);
}

/* The daemon's last line is the one behind all that it had sent. */
static char *last_line(struct ctl_connection *c)
{
    char *line;
    do
        line = ctl_receive(c);
    while (line && *line == '{');
    return line;
}

/* True: it was ended here; else `line` is the daemon's last one, or NULL. */
static bool draw_until_end(struct ctl_connection *c, const sigset_t *open, char **line)
{
    for (;;) {
        *line = NULL;
        if (!ctl_has_line(c)) {
            if (!wait_for_more(c, open))
                return true;
            if (!ctl_fill(c))
                return false;
            continue;
        }
        *line = ctl_receive(c);
        if (**line != '{')
            return false;
        draw_again(*line);
    }
}

char *ctl_watch(struct ctl_connection *c)
{
    struct sigaction old, action = {.sa_handler = on_watch_signal};
    sigset_t interrupt, open;
    watch_interrupted = 0;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &open);
    sigaction(SIGINT, &action, &old);
    char *line;
    bool ended = draw_until_end(c, &open, &line);
    putchar('\n');
    fflush(stdout);
    sigaction(SIGINT, &old, NULL);
    sigprocmask(SIG_SETMASK, &open, NULL); /* a second Ctrl-C does not wait for a daemon that hangs */
    return ended && ctl_send(c, "") ? last_line(c) : line;
}
