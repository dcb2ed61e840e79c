/*
 * A boot profile as text, in which it is kept, given and exported: a JSON object of at
 * most PROFILE_JSON_MAX bytes.
 *
 *     {"profile": 1, "image": "rescue.iso", "size": 608983040, "validator": "\"5f-61\"",
 *      "cluster": 65536, "runs": [[0, 1, 0], [9292, 1, 3270], ...]}
 *
 * `image` is for people. A run is its first cluster, how many there are, and the
 * milliseconds from the first read to its own.
 */
#ifndef PROFILE_PROFILE_JSON_H
#define PROFILE_PROFILE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "block/profile.h"
#include "block/source.h"

#define PROFILE_JSON_MAX (16u << 10) /* bytes, without the zero byte */

/* What the profile is of. */
struct profile_image {
    char name[256];
    char validator[SOURCE_VALIDATOR_MAX];
};

/* For mem_free(); NULL: it would be longer than PROFILE_JSON_MAX. */
char *profile_to_json(const struct profile *profile, const struct profile_image *image);
/* What is read is valid (block/profile.h). False, and `error` says why: it is no profile. `image` may be NULL. */
bool profile_from_json(const char *text, size_t length, struct profile *profile, struct profile_image *image,
                       const char **error);

#endif
