/*
 * The cache's inside: its memory, and the images in it. An image maps its blocks to entries: an extent (bytes that are
 * here) or a fetch (bytes that are on their way, block/cache_fetch.c). Used by the cache's own files only.
 */
#ifndef BLOCK_CACHE_IMAGE_H
#define BLOCK_CACHE_IMAGE_H

#include "base/list.h"
#include "block/block_table.h"
#include "block/cache.h"

#define CACHE_CONNECTION (128u << 10) /* bytes of memory of a connection, its TLS and buffers */

struct cache {
    struct budget budget; /* live: bytes of extents, until the last reference goes */
    uint64_t limit, image_minimum;
    uint64_t fetching; /* bytes asked of lower sources */
    uint64_t idle;     /* connections that fetches had, and that are likely to be open still */
    uint64_t overhead; /* bytes of the extents' own records, and of the tables that find them */
    uint64_t clock;    /* counts uses: what the age of extents is counted in */
    uint64_t inserted; /* bytes, ever: what the age of bytes that were read ahead is counted in */
    uint64_t hits, misses, evictions;
    struct link images;
};

struct cache_image {
    struct link link; /* in cache->images */
    struct cache *cache;
    char *identity; /* "": the image is shared with nobody */
    unsigned refs;  /* the cache sources on it */
    uint64_t size;
    uint64_t held; /* bytes of the image's extents */
    struct block_table blocks;
    struct link extents;            /* least recently used first */
    struct link unread;             /* extents read ahead, not all wanted yet; used longest ago first */
    struct source_stats *wasted_in; /* its `wasted` counts bytes evicted unread; NULL: nobody counts */
};

enum cache_entry_kind { CACHE_EXTENT, CACHE_FETCH };
struct cache_entry {
    enum cache_entry_kind kind;
    uint64_t offset; /* a multiple of CACHE_BLOCK */
    uint32_t length;
};

struct cache_extent {
    struct cache_entry entry;
    struct link link; /* in image->extents or image->unread */
    struct bytes *bytes;
    uint32_t start;    /* of the extent inside `bytes` */
    uint32_t unread;   /* bytes that were read ahead and that nobody has wanted yet */
    uint64_t used;     /* cache->clock at the last use */
    uint64_t inserted; /* cache->inserted when the extent came, or was wanted last */
};

/* Gives a reference to the image of that identity and size; a new image if there is none, or the identity is "". */
struct cache_image *cache_image_get(struct cache *cache, const char *identity, uint64_t size);
/* The last reference takes the image's extents along; no fetch may be mapped then. */
void cache_image_unref(struct cache_image *image);

/* Evicts until `length` bytes more fit; false: they don't, and all that is left is in use. */
bool cache_make_room(struct cache *cache, uint64_t length);

/* The entry of the block that `offset` lies in; NULL: none. */
struct cache_entry *cache_image_find(const struct cache_image *image, uint64_t offset);
void cache_image_map(struct cache_image *image, struct cache_entry *entry);
/* Unmaps the blocks that still belong to the entry. */
void cache_image_unmap(struct cache_image *image, struct cache_entry *entry);
/* Makes an extent of each slice of the data, which starts at `offset`. All slices but the last are multiples of the
 * block. The data's last `unread` bytes were read ahead, and are not wanted yet. */
void cache_image_insert(struct cache_image *image, uint64_t offset, const struct slices *data, uint64_t unread);
/* `wanted` bytes of the extent are read now. */
void cache_image_touch(struct cache_image *image, struct cache_extent *extent, uint32_t wanted);
/* Bytes of it that were read ahead and are not wanted yet. */
uint64_t cache_image_unread(const struct cache_image *image);
/* Forgets every extent that the range touches. */
void cache_image_drop(struct cache_image *image, uint64_t offset, uint64_t length);

#endif
