/*
 * Samples of what was read of an image. Pure. The first answers are kept, and of later
 * ones a random choice, each as likely as any other (a reservoir), so that few answers
 * cost a digest. Samples of ranges that are written are forgotten.
 */
#ifndef SOURCE_BROWSER_SAMPLES_H
#define SOURCE_BROWSER_SAMPLES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "source/browser.h"

#define BROWSER_SAMPLES_FIRST 4  /* of BROWSER_SAMPLES */
#define BROWSER_DIGEST_SIZE   32 /* SHA-256 */

struct browser_sample {
    uint64_t offset;
    uint32_t length;
    uint8_t digest[BROWSER_DIGEST_SIZE];
};

struct browser_samples { /* zeroed: none */
    struct browser_sample v[BROWSER_SAMPLES];
    unsigned count;
    uint64_t offered;
};

/* What was read at `offset`. Of more than BROWSER_SAMPLE_MAX bytes a part may be taken. */
void browser_samples_offer(struct browser_samples *samples, uint64_t offset, const struct slices *data);
void browser_samples_forget(struct browser_samples *samples, uint64_t offset, uint64_t length);
/* A random part, of BROWSER_SAMPLE_MAX bytes at most, of what was read at `offset`. False: there is no digest. */
bool browser_sample_take(struct browser_sample *sample, uint64_t offset, const struct slices *data);
/* Is what was read again the same as the sample? */
bool browser_sample_matches(const struct browser_sample *sample, const struct slices *data);

#endif
