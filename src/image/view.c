#include "image/view.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define VIEW_GAP (16u << 10) /* places that are no farther apart are read as one */

void view_init(struct view *view, uint64_t size)
{
    memset(view, 0, sizeof *view);
    view->size = size;
}

void view_clear(struct view *view)
{
    for (unsigned i = 0; i < view->count; i++)
        mem_free(view->parts[i].bytes);
    view_init(view, view->size);
}

bool view_refuse(struct view *view, const char *format, ...)
{
    va_list args;
    if (*view->error)
        return false;
    va_start(args, format);
    vsnprintf(view->error, sizeof view->error, format, args);
    va_end(args);
    return false;
}

static uint64_t view_range_end(const struct view_range *range)
{
    return range->offset + range->length;
}

static bool range_has(const struct view_range *range, uint64_t offset, uint32_t length)
{
    return range->offset <= offset && view_range_end(range) >= offset + length;
}

static void view_miss(struct view *view, uint64_t offset, uint32_t length)
{
    for (unsigned i = 0; i < view->missing_count; i++)
        if (range_has(&view->missing[i], offset, length))
            return;
    if (view->missing_count < VIEW_MISSING_MAX) /* else in the next round */
        view->missing[view->missing_count++] = (struct view_range){offset, length};
}

const unsigned char *view_at(struct view *view, uint64_t offset, uint32_t length)
{
    static const unsigned char nothing[1];
    if (offset > view->size || length > view->size - offset) {
        view_refuse(view, "the image is damaged: something is to lie behind its end");
        return NULL;
    }
    if (length > VIEW_ONE_MAX) {
        view_refuse(view, "a directory or a boot configuration of the image is larger than %u KiB", VIEW_ONE_MAX >> 10);
        return NULL;
    }
    if (length == 0)
        return nothing;
    for (unsigned i = 0; i < view->count; i++)
        if (range_has(&view->parts[i].range, offset, length))
            return view->parts[i].bytes + (offset - view->parts[i].range.offset);
    view_miss(view, offset, length);
    return NULL;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct view_range *one = a, *other = b;
    return one->offset < other->offset ? -1 : one->offset > other->offset;
}

void view_join_missing(struct view *view)
{
    struct view_range *ranges = view->missing;
    unsigned kept = 0;
    qsort(ranges, view->missing_count, sizeof *ranges, compare_ranges);
    for (unsigned i = 1; i < view->missing_count; i++) {
        uint64_t end = view_range_end(&ranges[i]), before = view_range_end(&ranges[kept]);
        bool near = ranges[i].offset <= before + VIEW_GAP;
        if (near && end - ranges[kept].offset <= VIEW_ONE_MAX)
            ranges[kept].length = (uint32_t)((end > before ? end : before) - ranges[kept].offset);
        else
            ranges[++kept] = ranges[i];
    }
    view->missing_count = view->missing_count ? kept + 1 : 0;
}

bool view_add(struct view *view, const struct view_range *range, unsigned char *bytes)
{
    if (view->count == VIEW_PARTS_MAX || view->held + range->length > VIEW_HELD_MAX) {
        mem_free(bytes);
        return view_refuse(view, "the image's boot directories and configurations are larger than %u KiB, or too many",
                           VIEW_HELD_MAX >> 10);
    }
    view->parts[view->count++] = (struct view_part){*range, bytes};
    view->held += range->length;
    return true;
}

void view_forget_missing(struct view *view)
{
    view->missing_count = 0;
}
