#include "remote/http/farm.h"

#include <errno.h>

#include "remote/http/internal.h"

#define PART_BYTES 512u

static void farm_go_on(struct http_farm *farm);

static void on_farm_part(struct remote_request *part)
{
    struct http_farm *farm = part->owner;
    farm->under_way--;
    farm->differs |= part->verdict == REMOTE_REFUSED && part->reason == -ESTALE;
    farm_go_on(farm);
}

/* The middle, and the end. */
static uint64_t offset_of(const struct http_farm *farm, unsigned part)
{
    uint64_t size = farm->resource->size;
    return part == 0 ? size / 2 : size - PART_BYTES;
}

static void farm_go_on(struct http_farm *farm)
{
    while (farm->started < HTTP_FARM_PARTS && farm->under_way < farm->at_a_time) {
        unsigned part = farm->started++;
        farm->under_way++;
        http_fetch_range(farm->parts[part], farm->resource, offset_of(farm, part), PART_BYTES);
    }
    if (farm->under_way == 0) {
        http_farm_cancel(farm);
        farm->done(farm);
    }
}

bool http_farm_start(struct http_farm *farm, struct http_image *image,
                     const struct http_resource *resource, unsigned at_a_time)
{
    if (resource->size < HTTP_FARM_LEAST || (!*resource->etag && !*resource->modified))
        return false;
    farm->differs = false;
    farm->started = farm->under_way = 0;
    farm->at_a_time = at_a_time;
    farm->resource = resource;
    for (unsigned i = 0; i < HTTP_FARM_PARTS; i++) {
        farm->parts[i] = http_fetch_new(image);
        farm->parts[i]->request.owner = farm;
        farm->parts[i]->request.done = on_farm_part;
        farm->parts[i]->alone = i > 0 && at_a_time > 1;
    }
    farm_go_on(farm);
    return true;
}

void http_farm_cancel(struct http_farm *farm)
{
    for (unsigned i = 0; i < HTTP_FARM_PARTS; i++) {
        http_fetch_free(farm->parts[i]);
        farm->parts[i] = NULL;
    }
}
