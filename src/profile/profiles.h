/*
 * The boot profiles that are kept on this machine: one file for each image, found by
 * the image's size and validator, in one folder, which is made when the first is kept.
 * Of more than PROFILES_MAX those go that were used longest ago. What is in the folder
 * is checked before it is believed. Everything that may block runs in threads; a
 * failure is logged and costs time at the next boot, nothing else.
 */
#ifndef PROFILE_PROFILES_H
#define PROFILE_PROFILES_H

#include "base/work.h"
#include "profile/profile_json.h"

#define PROFILES_MAX      64 /* files, of at most PROFILE_JSON_MAX bytes */
#define PROFILES_JOBS_MAX 64 /* loads and keeps at a time; what comes beyond is not kept */

struct profiles;

struct profiles *profiles_new(uv_loop_t *loop);
/* Where profiles are looked for and kept from now on. "", as it is at first: nowhere. */
void profiles_use(struct profiles *profiles, const char *directory);
/* What is being kept is kept first. `closed` comes later, when all is freed; no load is under way. */
void profiles_close(struct profiles *profiles, void (*closed)(void *arg), void *arg);

/* The caller's until `done`, which comes exactly once, never inside the call. */
struct profile_load {
    uint64_t size; /* of the image that a profile is looked for */
    struct profile_image image;
    bool found;
    struct profile profile;
    void (*done)(struct profile_load *load);

    struct work work; /* private, as is the rest */
    struct profiles *profiles;
    char *path;
};

/* `size`, `image` and `done` are set. */
void profiles_load(struct profiles *profiles, struct profile_load *load);
void profiles_keep(struct profiles *profiles, const struct profile *profile, const struct profile_image *image);

#endif
