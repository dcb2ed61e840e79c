/* Numbers as images have them. */
#ifndef IMAGE_NUMBERS_H
#define IMAGE_NUMBERS_H

#include <stdint.h>

static inline uint16_t little16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t little32(const unsigned char *p)
{
    return little16(p) | (uint32_t)little16(p + 2) << 16;
}

static inline uint64_t little64(const unsigned char *p)
{
    return little32(p) | (uint64_t)little32(p + 4) << 32;
}

static inline void put_little16(unsigned char *p, uint16_t value)
{
    p[0] = (unsigned char)value;
    p[1] = (unsigned char)(value >> 8);
}

static inline void put_little32(unsigned char *p, uint32_t value)
{
    put_little16(p, (uint16_t)value);
    put_little16(p + 2, (uint16_t)(value >> 16));
}

static inline void put_little64(unsigned char *p, uint64_t value)
{
    put_little32(p, (uint32_t)value);
    put_little32(p + 4, (uint32_t)(value >> 32));
}

static inline void put_big32(unsigned char *p, uint32_t value)
{
    p[0] = (unsigned char)(value >> 24);
    p[1] = (unsigned char)(value >> 16);
    p[2] = (unsigned char)(value >> 8);
    p[3] = (unsigned char)value;
}

/* ISO 9660's numbers of both byte orders (ECMA-119, 7.3.3). */
static inline void put_both32(unsigned char *p, uint32_t value)
{
    put_little32(p, value);
    put_big32(p + 4, value);
}

#endif
