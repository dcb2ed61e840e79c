#include "source_rig.h"

#include <stdlib.h>

#include "../block/contract.h"
#include "../cmocka_all.h"

struct source_rig rig;

static void on_opened(struct source *source, int status)
{
    (void)source;
    rig.opened++;
    rig.status = status;
}

static void on_closed(struct source *source)
{
    (void)source;
    rig.closed++;
}

void source_rig_done(struct io *io)
{
    rig.done++;
    rig.good += io->status == 0;
    rig.io_status = io->status;
    if (io->status == 0) {
        unsigned char *copy = malloc(io->length);
        slices_copy_out(&io->data, 0, copy, io->length);
        assert_memory_equal(copy, rig.content + io->offset, io->length);
        free(copy);
    }
    slices_clear(&io->data);
}

void source_rig_begin(const unsigned char *content)
{
    rig = (struct source_rig){.content = content};
    test_loop_begin(&rig.loop);
}

int source_rig_open(struct source *source)
{
    assert_non_null(source);
    rig.source = source;
    source->opened = on_opened;
    source->closed = on_closed;
    source_open(source);
    while (!rig.opened)
        uv_run(&rig.loop, UV_RUN_ONCE);
    return rig.status;
}

void source_rig_wait(int done)
{
    while (rig.done < done)
        uv_run(&rig.loop, UV_RUN_ONCE);
}

int source_rig_read(uint64_t offset, uint32_t length)
{
    struct io io;
    io_init(&io, IO_READ, offset, length, source_rig_done);
    rig.done = 0;
    source_submit(rig.source, &io);
    source_rig_wait(1);
    return rig.io_status;
}

void source_rig_close(void)
{
    source_close(rig.source);
    while (!rig.closed)
        uv_run(&rig.loop, UV_RUN_ONCE);
    source_free(rig.source);
    rig.source = NULL;
}

void source_rig_end(void)
{
    if (rig.source)
        source_rig_close();
    test_loop_end(&rig.loop);
}
