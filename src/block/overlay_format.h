/*
 * What an overlay's store looks like. Pure: encodes, decodes, and checks.
 *
 *   0                    header, one block; its content lies in the first sector,
 *                        which a disk writes whole or not at all
 *   OVERLAY_BLOCK        index, 8 bytes a slot: block and epoch; 0: empty
 *   overlay_format_data  data, one block a slot
 *
 * All numbers are little endian. An entry's epoch says which flush makes the entry stable: after a loss of power the
 * entry counts only if the header's `synced` has reached its epoch. The store is flushed before the header is written,
 * so the data that such an entry points to is stable too.
 */
#ifndef BLOCK_OVERLAY_FORMAT_H
#define BLOCK_OVERLAY_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define OVERLAY_BLOCK      4096u
#define OVERLAY_HEADER     OVERLAY_BLOCK /* bytes */
#define OVERLAY_BOOT_ID    64            /* bytes with the final 0 */
#define OVERLAY_SLOTS_MAX  (1u << 29)
#define OVERLAY_EPOCH_BITS 30
#define OVERLAY_EPOCH_MAX  ((1u << OVERLAY_EPOCH_BITS) - 1)
#define OVERLAY_IMAGE_MAX  ((uint64_t)OVERLAY_BLOCK << (64 - OVERLAY_EPOCH_BITS)) /* bytes */

struct overlay_header {
    uint64_t image_size;           /* bytes */
    uint64_t identity;             /* overlay_format_hash() of the image's identity; 0: the image had none */
    uint32_t capacity;             /* slots, 1..OVERLAY_SLOTS_MAX */
    uint32_t synced;               /* the last epoch that is stable */
    char boot_id[OVERLAY_BOOT_ID]; /* of the kernel under which the store was last written */
};

enum overlay_verdict {
    OVERLAY_GOOD,
    OVERLAY_EMPTY,   /* all zeroes */
    OVERLAY_FOREIGN, /* no overlay's header */
    OVERLAY_VERSION, /* of another version */
    OVERLAY_DAMAGED,
};

void overlay_format_encode(const struct overlay_header *header, uint8_t out[OVERLAY_HEADER]);
/* `header` is valid with OVERLAY_GOOD only. */
enum overlay_verdict overlay_format_decode(const uint8_t in[OVERLAY_HEADER], struct overlay_header *header);

uint64_t overlay_format_entry(uint64_t block, uint32_t epoch); /* as it lies in the index */
uint64_t overlay_entry_block(uint64_t entry);
uint32_t overlay_entry_epoch(uint64_t entry); /* 0: the slot is empty */

uint64_t overlay_format_index(uint32_t slot);          /* the offset of the slot's entry */
uint64_t overlay_format_data(uint32_t capacity);       /* the offset of slot 0 */
uint64_t overlay_format_size(uint32_t capacity);       /* of the store, bytes */
uint32_t overlay_format_capacity(uint64_t store_size); /* slots; 0: the store is too small */

uint64_t overlay_format_hash(const void *data, size_t length);

#endif
