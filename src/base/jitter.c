#include "base/jitter.h"

#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;

/* Early in a boot the kernel may have no random numbers yet: then what differs from machine to machine by itself must
 * do. */
static uint64_t jitter_seed(void)
{
    uint64_t seed;
    struct timespec now;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) {
        clock_gettime(CLOCK_REALTIME, &now);
        seed = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec + ((uint64_t)getpid() << 40);
    }
    return seed;
}

/* SplitMix64 (Steele, Lea, Flood, 2014). */
uint64_t jitter_number(void)
{
    if (state == 0)
        state = jitter_seed();
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

uint64_t jitter_below(uint64_t bound)
{
    return jitter_number() % bound;
}

uint64_t jitter_pause(uint64_t most_ms)
{
    return most_ms / 2 + jitter_below(most_ms / 2 + 1);
}
