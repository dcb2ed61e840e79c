/*
 * A look at an image that goes in: is it a medium at all? Its beginning is read from the image's server itself, not
 * through the cache, as something that may fail, and an insert waits for it for SLOT_LOOK_MS at most: the rest is for
 * the host to see.
 */
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "slot/slot_internal.h"

static void slot_look_look_at(struct slot *slot, const struct slices *data)
{
    unsigned char *head = mem_alloc(MEDIUM_HEAD);
    slices_copy_out(data, 0, head, data->length);
    slot->doubt = medium_look(head, data->length, pipeline_reader(slot->source)->size);
    mem_free(head);
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

static void on_slot_look_look(struct io *io)
{
    struct slot *slot = container_of(io, struct slot, look);
    if (io->status == 0 && slot->wanted)
        slot_look_look_at(slot, &io->data);
    slices_clear(&io->data);
    look_over(slot);
}

static void on_look_timer(uv_timer_t *timer)
{
    look_over(timer->data);
}

void slot_look(struct slot *slot)
{
    struct source *reader = pipeline_reader(slot->source);
    slot->looking = true;
    io_init(&slot->look, IO_READ, 0, reader->size < MEDIUM_HEAD ? (uint32_t)reader->size : MEDIUM_HEAD,
            on_slot_look_look);
    slot->look.flags = IO_PREFETCH;
    uv_timer_start(&slot->look_timer, on_look_timer, SLOT_LOOK_MS, 0);
    source_submit(reader, &slot->look);
}
