/*
 * An image as far as it has been read: what parses one asks for bytes here. Those that are not there yet are noted as
 * missing; whoever has the image reads them, adds them, and has the parser run again from its beginning. So a parser is a
 * plain function of bytes, and never waits. What it may make us hold, and in how many reads, is bounded.
 */
#ifndef IMAGE_VIEW_H
#define IMAGE_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#define VIEW_HELD_MAX (640u << 10) /* bytes of an image that are held */
#define VIEW_ONE_MAX (256u << 10)  /* bytes that are asked for at a time: a directory, a file */
#define VIEW_PARTS_MAX 128
#define VIEW_MISSING_MAX 48        /* places that are noted before any of them is read */
#define VIEW_ERROR_MAX 512

struct view_range {
    uint64_t offset;
    uint32_t length;
};

struct view {
    uint64_t size; /* of the image */
    struct view_part {
        struct view_range range;
        unsigned char *bytes;
    } parts[VIEW_PARTS_MAX];
    unsigned count;
    uint64_t held;
    struct view_range missing[VIEW_MISSING_MAX];
    unsigned missing_count;
    char error[VIEW_ERROR_MAX]; /* the first thing that is wrong with the image; "" for nothing */
};

void view_init(struct view *view, uint64_t size);
void view_clear(struct view *view);
/* NULL: they are missing, or there is an error; either way, go on with what does not need them. Valid until bytes are added. */
const unsigned char *view_at(struct view *view, uint64_t offset, uint32_t length);
/* Notes what is wrong with the image, if it is the first thing. Always false. */
__attribute__((format(printf, 2, 3))) bool view_refuse(struct view *view, const char *format, ...);
/* What is missing lies near by often enough: makes one place of those. */
void view_join_missing(struct view *view);
/* The bytes of a missing place, whose memory is taken over. False, and an error is noted: there are too many. */
bool view_add(struct view *view, const struct view_range *range, unsigned char *bytes);
void view_forget_missing(struct view *view); /* before the parser runs again */

static inline bool view_is_whole(const struct view *view)
{
    return view->missing_count == 0 && !*view->error;
}

#endif
