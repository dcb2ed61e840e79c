#include "remote/http/farm.h"

#include <errno.h>
#include <string.h>

#include "remote/http/internal.h"

#define PART_BYTES 512u

static void farm_go_on(struct http_farm *farm);

/* What the near part's answer said when it was asked for beside the probe; false: nothing. */
static bool judge_near(struct http_farm *farm)
{
    const struct http_fetch *near = farm->parts[HTTP_FARM_NEAR];
    const struct http_resource *found = &near->found, *resource = farm->resource;
    if (near->request.verdict != REMOTE_OK || strcmp(found->url, resource->url) != 0)
        return false;
    bool same = *resource->etag ? strcmp(found->etag, resource->etag) == 0
                                : !*found->modified || strcmp(found->modified, resource->modified) == 0;
    farm->differs |= !same || found->size != resource->size;
    return true;
}

static void on_farm_part(struct remote_request *part)
{
    struct http_farm *farm = part->owner;
    farm->under_way--;
    farm->differs |= part->verdict == REMOTE_REFUSED && part->reason == -ESTALE;
    farm_go_on(farm);
}

static void farm_part_new(struct http_farm *farm, struct http_image *image, enum http_farm_part part)
{
    farm->parts[part] = http_fetch_new(image);
    farm->parts[part]->request.owner = farm;
    farm->parts[part]->request.done = on_farm_part;
    farm->parts[part]->alone = part == HTTP_FARM_NEAR && farm->at_a_time > 1;
}

static uint64_t offset_of(const struct http_farm *farm, enum http_farm_part part)
{
    return part == HTTP_FARM_NEAR ? HTTP_FARM_NEAR_AT : farm->resource->size - PART_BYTES;
}

static void farm_ask(struct http_farm *farm, enum http_farm_part part)
{
    farm->under_way++;
    http_fetch_range(farm->parts[part], farm->resource, offset_of(farm, part), PART_BYTES);
}

static void farm_go_on(struct http_farm *farm)
{
    while (farm->started < HTTP_FARM_PARTS && farm->under_way < farm->at_a_time)
        farm_ask(farm, farm->started++);
    if (farm->under_way == 0) {
        http_farm_cancel(farm);
        farm->done(farm);
    }
}

/* The near part was asked for beside the probe. */
static void on_farm_near(struct remote_request *part)
{
    struct http_farm *farm = part->owner;
    farm->under_way--;
    part->done = on_farm_part;
    if (!farm->resource)
        return;
    if (!judge_near(farm))
        farm_ask(farm, HTTP_FARM_NEAR);
    farm_go_on(farm);
}

void http_farm_prepare(struct http_farm *farm, struct http_image *image, unsigned at_a_time)
{
    if (at_a_time < HTTP_FARM_PARTS)
        return;
    farm->at_a_time = at_a_time;
    farm_part_new(farm, image, HTTP_FARM_NEAR);
    farm->parts[HTTP_FARM_NEAR]->request.done = on_farm_near;
    farm->under_way++;
    http_fetch_beside(farm->parts[HTTP_FARM_NEAR], HTTP_FARM_NEAR_AT, PART_BYTES, HTTP_FARM_FAR_MS);
}

/* The near part may have been asked for already: it is under way, or its answer can be judged. Else it is still to be
 * asked for. */
static bool near_is_done(struct http_farm *farm, struct http_image *image)
{
    struct http_fetch *near = farm->parts[HTTP_FARM_NEAR];
    if (near && !near->later)
        return farm->under_way > 0 || judge_near(farm);
    http_fetch_free(near);
    farm->under_way = 0;
    farm_part_new(farm, image, HTTP_FARM_NEAR);
    return false;
}

bool http_farm_start(struct http_farm *farm, struct http_image *image,
                     const struct http_resource *resource, unsigned at_a_time)
{
    if (resource->size < HTTP_FARM_LEAST || (!*resource->etag && !*resource->modified))
        return false;
    farm->differs = false;
    farm->at_a_time = at_a_time;
    farm->resource = resource;
    farm_part_new(farm, image, HTTP_FARM_END);
    bool near = near_is_done(farm, image);
    farm_ask(farm, HTTP_FARM_END);
    farm->started = near ? HTTP_FARM_PARTS : HTTP_FARM_NEAR;
    farm_go_on(farm);
    return true;
}

void http_farm_cancel(struct http_farm *farm)
{
    for (unsigned i = 0; i < HTTP_FARM_PARTS; i++) {
        http_fetch_free(farm->parts[i]);
        farm->parts[i] = NULL;
    }
    farm->under_way = 0;
    farm->resource = NULL;
}
