#include "source/browser_samples.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/jitter.h"

static bool digest_of(const struct slices *data, uint8_t digest[BROWSER_DIGEST_SIZE])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    for (uint32_t i = 0; i < data->count && ok; i++)
        ok = EVP_DigestUpdate(context, slice_data(&data->v[i]), data->v[i].length) == 1;
    ok = ok && EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    return ok;
}

static bool browser_samples_is_known(const struct browser_samples *samples, uint64_t offset)
{
    for (unsigned i = 0; i < samples->count; i++)
        if (samples->v[i].offset == offset)
            return true;
    return false;
}

/* Where the next sample goes; NULL: the chance was against it. */
static struct browser_sample *choose_place(struct browser_samples *samples)
{
    samples->offered++;
    if (samples->count < BROWSER_SAMPLES)
        return &samples->v[samples->count];
    uint64_t chance = jitter_below(samples->offered);
    return chance < BROWSER_SAMPLES - BROWSER_SAMPLES_FIRST ? &samples->v[BROWSER_SAMPLES_FIRST + chance] : NULL;
}

/* Where a random part of `length` bytes begins, and how long it is. */
static uint64_t choose_part(uint64_t length, uint32_t *part)
{
    *part = length > BROWSER_SAMPLE_MAX ? BROWSER_SAMPLE_MAX : (uint32_t)length;
    return length > BROWSER_SAMPLE_MAX ? jitter_below(length / BROWSER_SAMPLE_MAX) * BROWSER_SAMPLE_MAX : 0;
}

static bool sample_fill(struct browser_sample *sample, const struct slices *data, uint64_t skip)
{
    struct slices part;
    slices_init(&part);
    slices_add_part(&part, data, skip, sample->length);
    bool ok = digest_of(&part, sample->digest);
    slices_clear(&part);
    return ok;
}

bool browser_sample_take(struct browser_sample *sample, uint64_t offset, const struct slices *data)
{
    uint64_t skip = choose_part(data->length, &sample->length);
    sample->offset = offset + skip;
    return sample_fill(sample, data, skip);
}

void browser_samples_offer(struct browser_samples *samples, uint64_t offset, const struct slices *data)
{
    struct browser_sample sample;
    uint64_t skip = choose_part(data->length, &sample.length);
    sample.offset = offset + skip;
    if (sample.length == 0 || browser_samples_is_known(samples, sample.offset))
        return;
    struct browser_sample *place = choose_place(samples);
    if (!place || !sample_fill(&sample, data, skip))
        return;
    samples->count += place == &samples->v[samples->count];
    *place = sample;
}

void browser_samples_forget(struct browser_samples *samples, uint64_t offset, uint64_t length)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < samples->count; i++) {
        const struct browser_sample *sample = &samples->v[i];
        bool overlaps = sample->offset < offset + length && offset < sample->offset + sample->length;
        if (overlaps)
            continue;
        if (kept < i)
            samples->v[kept] = *sample;
        kept++;
    }
    samples->count = kept;
}

bool browser_sample_matches(const struct browser_sample *sample, const struct slices *data)
{
    uint8_t digest[BROWSER_DIGEST_SIZE];
    return data->length == sample->length && digest_of(data, digest) &&
           memcmp(digest, sample->digest, sizeof digest) == 0;
}
