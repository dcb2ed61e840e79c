/* What the tests of the store share: a folder, a loop, a store in it, uploads that are
 * given some of their bytes, and threads that are kept busy like by a slow disk. */
#ifndef TEST_STORE_RIG_H
#define TEST_STORE_RIG_H

#include "store/store.h"

struct store_rig {
    uv_loop_t loop;
    char folder[64], path[96]; /* path: the store's directory in it */
    struct store_options options;
    struct store *store; /* NULL: closed */
};

/* Makes the folder and the loop; opens a store of 1 GiB. */
void store_rig_begin(struct store_rig *rig);
void store_rig_open(struct store_rig *rig); /* with rig->options */
void store_rig_close(struct store_rig *rig);
/* Closes what is open, checks that the loop is empty, removes the folder. */
void store_rig_end(struct store_rig *rig);
void store_rig_reopen(struct store_rig *rig);
/* The same for a test whose state is the rig. */
int store_rig_setup(void **state);
int store_rig_teardown(void **state);
/* Runs the loop until it is so; fails when nothing is left to run, or after a minute. */
void store_rig_until(struct store_rig *rig, const bool *flag);
void store_rig_turn(struct store_rig *rig, unsigned ms); /* runs it for a while */

/* Bytes that differ everywhere, and their SHA-256. */
const uint8_t *store_rig_data(void);
#define STORE_RIG_DATA (16u << 20)
void store_rig_digest(size_t length, char sha256[STORE_SHA256]);

struct store_rig_put {
    struct store_piece piece;
    uint64_t given, give; /* then it is cut, if that is not all */
    size_t chunk;
    unsigned pauses;
    bool done;
};

/* The piece of store_rig_data() at `first`; `give` of its bytes in chunks. */
void store_rig_start(struct store_rig *rig, struct store_rig_put *put, const char *name, uint64_t first,
                     uint64_t length, uint64_t size, uint64_t give, size_t chunk);
/* The same to its end; the status. */
int store_rig_put(struct store_rig *rig, struct store_rig_put *put, const char *name, uint64_t first, uint64_t length,
                  uint64_t size, uint64_t give);
int store_rig_remove(struct store_rig *rig, const char *name);
/* The list as of now; entries are in `list->found`, which the caller frees. */
void store_rig_list(struct store_rig *rig, struct store_list *list);
/* One of it; false: there is none. */
bool store_rig_find(struct store_rig *rig, const char *name, struct store_entry *entry);

/* Files in the store's directory. */
unsigned store_rig_files(const struct store_rig *rig); /* how many, of all kinds */
void store_rig_part(const struct store_rig *rig, const char *name, uint64_t size, char path[400]);
/* Fails unless the image has exactly the first bytes of store_rig_data(). */
void store_rig_check_image(const struct store_rig *rig, const char *name, size_t size);
void store_rig_write_file(const struct store_rig *rig, const char *file, const void *data, size_t size);

/* No work runs on the pool until it is let go. */
void store_rig_hold_threads(struct store_rig *rig);
void store_rig_release_threads(struct store_rig *rig);

#endif
