/*
 * Reads a drive at the host's end of the gadget: `direct` reads it whole in pieces of 1 MiB past the page cache (O_DIRECT),
 * as drives are measured; `seq` in pieces of 128 KiB through it, as a copy is made; `boot` reads as a boot does:
 * firmware and loader jump about in small pieces, then the kernel and the initial file system come in one go each, then
 * the system jumps about again. The drive has the image of nbdread (a function of the offset), so each piece is checked.
 */
#include <endian.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 128 << 10, LARGE_PIECE = 1 << 20 };

static _Alignas(4096) unsigned char buffer[LARGE_PIECE];
static uint64_t bytes, requests, wrong;
static int fd;

/* As in nbdread.c. */
static uint64_t mix(uint64_t x)
{
    x = (x + 1) * 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static void take(uint64_t offset, uint32_t length)
{
    ssize_t n = pread(fd, buffer, length, (off_t)offset);
    if (n != (ssize_t)length) {
        perror("pread");
        exit(1);
    }
    for (uint32_t at = 0; at < length; at += 512) {
        uint64_t word;
        memcpy(&word, buffer + at, 8);
        wrong += le64toh(word) != mix((offset + at) / 8);
    }
    bytes += length;
    requests++;
}

static void run(uint64_t offset, uint64_t length, uint32_t piece)
{
    for (uint64_t at = 0; at < length; at += piece)
        take(offset + at, length - at < piece ? (uint32_t)(length - at) : piece);
}

static void jump(unsigned count, uint64_t from, uint64_t span, uint32_t length)
{
    static uint64_t state = 1;
    for (unsigned i = 0; i < count; i++)
        take(from + mix(state++) % (span / 4096) * 4096, length);
}

static void boot(uint64_t size)
{
    run(32768, 16384, PIECE);         /* volume descriptors */
    jump(40, 0, 4 << 20, 4096);       /* directories, loader, its modules */
    run(size / 8, 8 << 20, PIECE);    /* kernel */
    run(size / 4, 24 << 20, PIECE);   /* initial file system */
    jump(120, size / 2, size / 2 - PIECE, 32768); /* the system starts */
}

int main(int argc, char **argv)
{
    struct timespec begin, end;
    bool direct = argc == 3 && strcmp(argv[2], "direct") == 0;
    if (argc != 3 || (fd = open(argv[1], O_RDONLY | (direct ? O_DIRECT : 0))) < 0) {
        fprintf(stderr, "usage: devread DEVICE direct|seq|boot\n");
        return 2;
    }
    uint64_t size = (uint64_t)lseek(fd, 0, SEEK_END);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    if (direct)
        run(0, size, LARGE_PIECE);
    else if (strcmp(argv[2], "seq") == 0)
        run(0, size, PIECE);
    else
        boot(size);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    printf("{\"bytes\": %llu, \"requests\": %llu, \"seconds\": %.3f, \"wrong\": %llu}\n", (unsigned long long)bytes,
           (unsigned long long)requests, seconds, (unsigned long long)wrong);
    return wrong ? 1 : 0;
}
