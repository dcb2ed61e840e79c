#include "remote/http/farm.h"

#include <errno.h>
#include <string.h>

#define PART_BYTES 512u

static void farm_go_on(struct fetch_farm *farm);

static void on_part(struct fetch *part)
{
    struct fetch_farm *farm = part->owner;
    farm->under_way--;
    farm->differs |= part->verdict == FETCH_REFUSED && part->reason == -ESTALE;
    farm_go_on(farm);
}

/* The middle, and the end. */
static uint64_t offset_of(const struct fetch_farm *farm, unsigned part)
{
    uint64_t size = farm->resource->size;
    return part == 0 ? size / 2 : size - PART_BYTES;
}

static void farm_go_on(struct fetch_farm *farm)
{
    while (farm->started < FETCH_FARM_PARTS && farm->under_way < farm->at_a_time) {
        unsigned part = farm->started++;
        farm->under_way++;
        fetch_range(farm->parts[part], farm->resource, offset_of(farm, part), PART_BYTES);
    }
    if (farm->under_way == 0) {
        fetch_farm_cancel(farm);
        farm->done(farm);
    }
}

bool fetch_farm_start(struct fetch_farm *farm, struct curl_loop *curl, struct fetch_setup *setup,
                      const struct fetch_resource *resource, unsigned at_a_time)
{
    bool is_http = strncmp(resource->url, "http", 4) == 0; /* a file of FTP or SFTP is one file */
    if (!is_http || resource->size < FETCH_FARM_LEAST || (!*resource->etag && !*resource->modified))
        return false;
    farm->differs = false;
    farm->started = farm->under_way = 0;
    farm->at_a_time = at_a_time;
    farm->resource = resource;
    for (unsigned i = 0; i < FETCH_FARM_PARTS; i++) {
        farm->parts[i] = fetch_new(curl, setup);
        farm->parts[i]->owner = farm;
        farm->parts[i]->done = on_part;
        farm->parts[i]->alone = i > 0 && at_a_time > 1;
    }
    farm_go_on(farm);
    return true;
}

void fetch_farm_cancel(struct fetch_farm *farm)
{
    for (unsigned i = 0; i < FETCH_FARM_PARTS; i++) {
        fetch_free(farm->parts[i]);
        farm->parts[i] = NULL;
    }
}
