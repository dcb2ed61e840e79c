/*
 * nbdread - the reader of the benchmark: a small NBD client on a UNIX socket that costs as little as it can.
 *
 * It reads --bytes from the start (--mode seq) or at random aligned offsets (--mode rand), --size a request, --depth
 * requests in flight, and prints one JSON line.  The image is the one that `nbdread --make FILE --bytes N` writes: the
 * word at offset 8*i is a mix of i, so that any piece can be checked without the file.  A word of each 512 bytes is checked as
 * it is read, or all of them with --check-all.
 */
#include <endian.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH_MAX = 256, SAMPLES_MAX = 1 << 20, HEADER = 16, SECTOR = 512 };

struct __attribute__((packed)) request {
    uint32_t magic;
    uint16_t flags, type;
    uint64_t cookie, offset;
    uint32_t length;
};

struct __attribute__((packed)) reply {
    uint32_t magic, error;
    uint64_t cookie;
};

static struct {
    const char *socket, *export, *make;
    bool random, check_all;
    uint32_t size, depth;
    uint64_t bytes, offset, seed, device;
    double seconds;
    int fd;
    uint64_t asked, done, next, wrong;
    struct {
        uint64_t offset;
        double sent;
    } slot[DEPTH_MAX];
    uint8_t *buffer;
    float *sample;
} rd = {.export = "", .size = 131072, .depth = 1, .bytes = 1 << 30, .seconds = 60, .seed = 1};

static void die(const char *what)
{
    printf("{\"error\": \"%s: %s\"}\n", what, errno ? strerror(errno) : "protocol error");
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t mix(uint64_t x)
{
    x = (x + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static int make_image(void)
{
    static uint64_t block[1 << 17];
    FILE *f = fopen(rd.make, "wb");
    if (!f)
        die(rd.make);
    for (uint64_t at = 0; at < rd.bytes; at += sizeof block) {
        for (size_t i = 0; i < sizeof block / 8; i++)
            block[i] = htole64(mix(at / 8 + i));
        if (fwrite(block, sizeof block, 1, f) != 1)
            die(rd.make);
    }
    return fclose(f) == 0 ? 0 : 1;
}

static void check(uint64_t offset)
{
    size_t stride = rd.check_all ? 8 : SECTOR;
    for (size_t at = 0; at + 8 <= rd.size; at += stride) {
        size_t where = rd.check_all ? at : at + (at / SECTOR * 8) % SECTOR;
        uint64_t word;
        memcpy(&word, rd.buffer + where, 8);
        rd.wrong += le64toh(word) != mix((offset + where) / 8);
    }
}

/* ---- the wire ---- */

static void put(const void *data, size_t length)
{
    errno = 0;
    if (send(rd.fd, data, length, MSG_NOSIGNAL) != (ssize_t)length)
        die("send");
}

static void get(void *data, size_t length)
{
    errno = 0;
    if (recv(rd.fd, data, length, MSG_WAITALL) != (ssize_t)length)
        die("receive");
}

static void dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int size = 1 << 20;
    if (strlen(rd.socket) >= sizeof address.sun_path)
        die("socket path");
    strcpy(address.sun_path, rd.socket);
    rd.fd = socket(AF_UNIX, SOCK_STREAM, 0);
    setsockopt(rd.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (connect(rd.fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect");
}

static void send_go(void)
{
    uint32_t name = (uint32_t)strlen(rd.export);
    uint8_t option[512];
    uint64_t magic = htobe64(0x49484156454F5054u);
    uint32_t flags = htobe32(3), go = htobe32(7), length = htobe32(4 + name + 2), name_be = htobe32(name);
    if (name > 256)
        die("export name");
    memcpy(option, &flags, 4);
    memcpy(option + 4, &magic, 8);
    memcpy(option + 12, &go, 4);
    memcpy(option + 16, &length, 4);
    memcpy(option + 20, &name_be, 4);
    memcpy(option + 24, rd.export, name);
    memset(option + 24 + name, 0, 2);
    put(option, 26 + name);
}

static bool read_option_reply(void)
{
    struct __attribute__((packed)) {
        uint64_t magic;
        uint32_t option, type, length;
    } reply;
    uint8_t data[4096];
    uint64_t size;
    get(&reply, sizeof reply);
    uint32_t length = be32toh(reply.length), type = be32toh(reply.type);
    if (length > sizeof data || (type & 0x80000000u)) {
        fprintf(stderr, "nbdread: option reply %#x\n", type);
        die("handshake");
    }
    if (length)
        get(data, length);
    if (type == 3 && length >= 12 && data[0] == 0 && data[1] == 0) {
        memcpy(&size, data + 2, 8);
        rd.device = be64toh(size);
    }
    return type == 1;
}

static void handshake(void)
{
    uint8_t greeting[18];
    get(greeting, sizeof greeting);
    if (memcmp(greeting, "NBDMAGICIHAVEOPT", 16))
        die("greeting");
    send_go();
    while (!read_option_reply())
        ;
}

static uint64_t pick(void)
{
    uint64_t count = rd.device / rd.size;
    if (rd.random)
        return mix(mix(rd.seed) + rd.asked) % count * rd.size;
    return (rd.offset / rd.size + rd.asked) % count * rd.size;
}

static void ask(uint32_t slot)
{
    struct request request = {.magic = htobe32(0x25609513), .length = htobe32(rd.size), .cookie = slot};
    rd.slot[slot].offset = pick();
    rd.slot[slot].sent = now();
    request.offset = htobe64(rd.slot[slot].offset);
    put(&request, sizeof request);
    rd.asked++;
}

/* All replies have one size, so header and data come in one call. */
static uint32_t receive(void)
{
    struct reply reply;
    size_t got = 0, total = HEADER + rd.size;
    while (got < total) {
        size_t head = got < HEADER ? HEADER - got : 0, body = got < HEADER ? 0 : got - HEADER;
        struct iovec iov[2] = {{(uint8_t *)&reply + (HEADER - head), head}, {rd.buffer + body, rd.size - body}};
        struct msghdr message = {.msg_iov = iov + (head == 0), .msg_iovlen = head ? 2 : 1};
        ssize_t n = recvmsg(rd.fd, &message, 0);
        errno = n == 0 ? ECONNRESET : errno;
        if (n <= 0)
            die("receive");
        got += (size_t)n;
        if (got >= HEADER && (be32toh(reply.magic) != 0x67446698 || reply.error || reply.cookie >= rd.depth)) {
            errno = (int)be32toh(reply.error);
            die("read");
        }
    }
    return (uint32_t)reply.cookie;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double quantile(double q)
{
    uint64_t count = rd.done < SAMPLES_MAX ? rd.done : SAMPLES_MAX;
    return count ? (double)rd.sample[(uint64_t)((double)(count - 1) * q)] : 0;
}

static void run(void)
{
    double begin = now(), connected, first = 0, t;
    dial();
    handshake();
    connected = now();
    uint64_t count = rd.bytes / rd.size;
    for (uint32_t i = 0; i < rd.depth && rd.asked < count; i++)
        ask(i);
    do {
        uint32_t slot = receive();
        uint64_t offset = rd.slot[slot].offset;
        t = now();
        if (!rd.done)
            first = t - begin;
        rd.sample[rd.done++ % SAMPLES_MAX] = (float)(t - rd.slot[slot].sent);
        if (rd.asked < count && t - connected < rd.seconds && rd.depth > 1)
            ask(slot);
        check(offset);
        if (rd.asked < count && t - connected < rd.seconds && rd.depth == 1)
            ask(slot);
    } while (rd.done < rd.asked);
    qsort(rd.sample, rd.done < SAMPLES_MAX ? rd.done : SAMPLES_MAX, sizeof *rd.sample, by_value);
    double took = t - connected;
    printf("{\"device\": %llu, \"requests\": %llu, \"bytes\": %llu, \"seconds\": %.6f, \"handshake\": %.6f, \"first\": %.6f, "
           "\"mb_s\": %.3f, \"req_s\": %.3f, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f, \"wrong\": %llu}\n",
           (unsigned long long)rd.device, (unsigned long long)rd.done, (unsigned long long)(rd.done * rd.size), took,
           connected - begin, first, (double)(rd.done * rd.size) / took / 1e6, (double)rd.done / took,
           quantile(0.5) * 1e3, quantile(0.99) * 1e3, quantile(1) * 1e3, (unsigned long long)rd.wrong);
}

static void usage(void)
{
    fprintf(stderr, "usage: nbdread --socket PATH [--export NAME] [--mode seq|rand] [--size N] [--depth N] [--bytes N]\n"
                    "               [--seconds T] [--offset N] [--seed N] [--check-all]\n"
                    "       nbdread --make FILE --bytes N\n");
    exit(2);
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", 1, NULL, 's'}, {"export", 1, NULL, 'e'}, {"mode", 1, NULL, 'm'},  {"size", 1, NULL, 'z'},
        {"depth", 1, NULL, 'd'},  {"bytes", 1, NULL, 'b'},  {"seconds", 1, NULL, 't'}, {"offset", 1, NULL, 'o'},
        {"seed", 1, NULL, 'r'},   {"check-all", 0, NULL, 'c'}, {"make", 1, NULL, 'M'}, {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's': rd.socket = optarg; break;
        case 'e': rd.export = optarg; break;
        case 'm': rd.random = !strcmp(optarg, "rand"); break;
        case 'z': rd.size = (uint32_t)strtoul(optarg, NULL, 0); break;
        case 'd': rd.depth = (uint32_t)strtoul(optarg, NULL, 0); break;
        case 'b': rd.bytes = strtoull(optarg, NULL, 0); break;
        case 't': rd.seconds = strtod(optarg, NULL); break;
        case 'o': rd.offset = strtoull(optarg, NULL, 0); break;
        case 'r': rd.seed = strtoull(optarg, NULL, 0); break;
        case 'c': rd.check_all = true; break;
        case 'M': rd.make = optarg; break;
        default: usage();
        }
    }
    if ((!rd.socket && !rd.make) || rd.size < SECTOR || rd.size % SECTOR || !rd.depth || rd.depth > DEPTH_MAX ||
        rd.bytes < rd.size)
        usage();
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    if (rd.make)
        return make_image();
    rd.buffer = malloc(rd.size);
    rd.sample = calloc(SAMPLES_MAX, sizeof *rd.sample);
    if (!rd.buffer || !rd.sample)
        die("memory");
    run();
    return rd.wrong ? 1 : 0;
}
