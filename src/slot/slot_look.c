/*
 * A look at an image that goes in: is it a medium at all? Its beginning is read from the image's server itself, not
 * through the cache, as something that may fail, and an insert waits for it for SLOT_LOOK_MS at most: the rest is for
 * the host to see. Where a round trip is long the look is two parts that a server can send at once (TCP's first window,
 * RFC 6928), through the cache, which begins with them too.
 */
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "block/fetch_size.h"
#include "slot/slot_internal.h"

struct look_part {
    uint32_t begin, end;
};

static void look_judge(struct slot *slot)
{
    uint64_t size = pipeline_image_of(slot->source)->size;
    slot->doubt = medium_look(slot->look_head, size < MEDIUM_HEAD ? (size_t)size : MEDIUM_HEAD, size);
    if (slot->doubt != MEDIUM_GOOD)
        log_warning(slot->config.name, "%s: %s", slot->url_public, medium_doubt_words(slot->doubt));
}

static void look_over(struct slot *slot)
{
    uv_timer_stop(&slot->look_timer);
    if (!slot->looking)
        return;
    slot->looking = false;
    slot_step(slot);
}

static void on_look_part(struct io *io)
{
    struct slot *slot = container_of(io, struct slot_look_read, io)->slot;
    if (io->status == 0)
        slices_copy_out(&io->data, 0, slot->look_head + io->offset, io->length);
    else
        slot->look_failed = true;
    slices_clear(&io->data);
    if (--slot->look_pending > 0)
        return;
    if (!slot->look_failed && slot->wanted)
        look_judge(slot);
    mem_free(slot->look_head);
    slot->look_head = NULL;
    look_over(slot);
}

static void on_look_timer(uv_timer_t *timer)
{
    look_over(timer->data);
}

static void look_read(struct slot *slot, struct slot_look_read *read, struct source *from, const struct look_part *part)
{
    uint32_t end = from->size < part->end ? (uint32_t)from->size : part->end;
    if (part->begin >= end)
        return;
    read->slot = slot;
    io_init(&read->io, IO_READ, part->begin, end - part->begin, on_look_part);
    read->io.flags = IO_PREFETCH;
    slot->look_pending++;
    source_submit(from, &read->io);
}

void slot_look(struct slot *slot)
{
    /* Boot records and a page's first tag; a volume's descriptors. */
    static const struct look_part far[SLOT_LOOK_PARTS] = {{0, 4096}, {MEDIUM_VOLUMES, MEDIUM_HEAD}};
    static const struct look_part near[SLOT_LOOK_PARTS] = {{0, MEDIUM_HEAD}};
    struct source *image = pipeline_image_of(slot->source), *reader = pipeline_reader(slot->source);
    bool is_far = fetch_begins_early(&reader->stats);
    slot->looking = true;
    slot->look_failed = false;
    slot->look_head = mem_alloc(MEDIUM_HEAD);
    uv_timer_start(&slot->look_timer, on_look_timer, SLOT_LOOK_MS, 0);
    for (unsigned i = 0; i < SLOT_LOOK_PARTS; i++)
        look_read(slot, &slot->look[i], is_far ? image : reader, &(is_far ? far : near)[i]);
}
