/* A boot profile of anybody's: what is taken for good is valid, survives being written down, and can be followed. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "block/profile_plan.h"
#include "profile/profile_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void follow(const struct profile *profile)
{
    const struct profile_plan_limits limits = {.ahead = UINT64_MAX, .second = 1 << 20, .chunk = 1 << 20};
    static struct profile_plan plan;
    uint64_t offset, sum = 0;
    uint32_t length;
    profile_plan_init(&plan, profile);
    while (profile_plan_next(&plan, &limits, &offset, &length)) {
        if (length == 0 || offset + length > profile->size)
            abort();
        if (!profile_plan_read(&plan, offset, length))
            abort();
        sum += length;
    }
    if (sum > profile->size || sum > profile_bytes(profile))
        abort();
}

static void write_again(const struct profile *profile, const struct profile_image *image)
{
    static struct profile again;
    struct profile_image image_again;
    const char *error;
    char *text = profile_to_json(profile, image);
    if (!text)
        return; /* longer than it may be */
    if (!profile_from_json(text, strlen(text), &again, &image_again, &error) || again.count != profile->count ||
        memcmp(again.runs, profile->runs, profile->count * sizeof *again.runs) != 0 ||
        strcmp(image_again.validator, image->validator) != 0)
        abort();
    mem_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct profile profile;
    struct profile_image image;
    const char *error = NULL;
    if (profile_from_json((const char *)data, size, &profile, &image, &error)) {
        if (!profile_is_valid(&profile))
            abort();
        write_again(&profile, &image);
        follow(&profile);
    } else if (!error) {
        abort();
    }
    return 0;
}
