#include "image/text_diff.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"

/* A text of which the lines up to `at` are behind us; `length` is that of the line there, its end not counted. */
struct text_lines {
    const char *text;
    size_t size, at, length;
    unsigned number;
};

static void text_lines_find_end(struct text_lines *lines)
{
    const char *end = lines->at < lines->size ? memchr(lines->text + lines->at, '\n', lines->size - lines->at) : NULL;
    lines->length = end ? (size_t)(end - lines->text) - lines->at : lines->size - lines->at;
}

static struct text_lines text_lines_of(const char *text, size_t size)
{
    struct text_lines lines = {text, size, 0, 0, 1};
    text_lines_find_end(&lines);
    return lines;
}

static bool lines_end(const struct text_lines *lines)
{
    return lines->at >= lines->size;
}

static void lines_next(struct text_lines *lines)
{
    lines->at += lines->length + 1;
    lines->at = lines->at < lines->size ? lines->at : lines->size;
    lines->number++;
    text_lines_find_end(lines);
}

static bool same_line(const struct text_lines *a, const struct text_lines *b)
{
    return !lines_end(a) && !lines_end(b) && a->length == b->length &&
           memcmp(a->text + a->at, b->text + b->at, a->length) == 0;
}

static void show_line(FILE *out, char sign, const struct text_lines *line)
{
    char *copy = mem_alloc(line->length + 1);
    memcpy(copy, line->text + line->at, line->length);
    fputc(sign, out);
    for (const char *p = copy; p < copy + line->length;) {
        uint32_t code;
        size_t n = text_character(p, &code);
        bool good = n > 0 && (code == '\t' || (code >= ' ' && code < 0x7f) || code >= 0xa0);
        n = n > 0 ? n : 1;
        fwrite(good ? p : "?", 1, good ? n : 1, out);
        p += n;
    }
    fputc('\n', out);
    mem_free(copy);
}

/* Whether the line is one that was put before what stands in the other text. */
static bool line_is_inserted(const struct text_lines *before, const struct text_lines *after)
{
    struct text_lines behind = *after;
    if (lines_end(before))
        return true;
    lines_next(&behind);
    return same_line(before, &behind);
}

void text_diff(FILE *out, const char *before, size_t before_length, const char *after, size_t after_length)
{
    struct text_lines a = text_lines_of(before, before_length), b = text_lines_of(after, after_length);
    bool open = false; /* a run of changed lines */
    while (!lines_end(&a) || !lines_end(&b)) {
        bool same = same_line(&a, &b);
        if (!same && !open)
            fprintf(out, "@@ -%u +%u @@\n", a.number, b.number);
        open = !same;
        bool inserted = !same && !lines_end(&b) && line_is_inserted(&a, &b);
        if (!same && !inserted)
            show_line(out, '-', &a);
        if (!same && !lines_end(&b))
            show_line(out, '+', &b);
        if (!inserted)
            lines_next(&a);
        if (!lines_end(&b))
            lines_next(&b);
    }
}
