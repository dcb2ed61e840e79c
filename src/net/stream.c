#include "net/stream.h"

void stream_read(struct stream *stream, bool on)
{
    if (!stream->closing)
        stream->ops->read(stream, on);
}

void stream_write(struct stream *stream, struct slices *data)
{
    if (stream->closing)
        slices_clear(data);
    else if (data->length > 0)
        stream->ops->write(stream, data);
}

void stream_close(struct stream *stream)
{
    if (stream->closing)
        return;
    stream->closing = true;
    stream->ops->close(stream);
}

void stream_free(struct stream *stream)
{
    if (stream)
        stream->ops->free(stream);
}
