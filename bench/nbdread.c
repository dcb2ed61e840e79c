/*
 * nbdread - the reader of the benchmark: a small NBD client on a UNIX socket that costs as little as it can.
 *
 * It reads --bytes from the start (--mode seq) or at random aligned offsets (--mode rand), --size a request, --depth
 * requests in flight, and prints one JSON line.  With --mode list it reads what a file says, one line a read: offset and length in
 * sectors of 512 bytes, and the microseconds since the answer before, which are waited with --think (times its factor); one in
 * flight.  A stall is a read that took more than 20 ms; --stalls lists them.  The image is the one that `nbdread --make FILE --bytes N` writes: the
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

enum { DEPTH_MAX = 256, SAMPLES_MAX = 1 << 20, HEADER = 16, SECTOR = 512, LIST_LENGTH_MAX = 32 << 20 };
#define STALL 0.020

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

struct listed {
    uint64_t offset;
    uint32_t length, think_us;
};

static struct {
    const char *socket, *export, *make, *mode, *list;
    bool random, check_all, tell_stalls;
    uint32_t size, depth;
    uint64_t bytes, offset, seed, device;
    double seconds, think;
    int fd;
    struct listed *listed;
    size_t count;
    uint64_t asked, done, next, wrong;
    struct {
        uint64_t offset;
        double sent;
    } slot[DEPTH_MAX];
    uint8_t *buffer;
    float *sample;
} rd = {.export = "", .mode = "seq", .size = 131072, .depth = 1, .bytes = 1 << 30, .seed = 1};

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

static void wait_seconds(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    if (seconds > 0)
        nanosleep(&t, NULL);
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
    for (int i = 0; connect(rd.fd, (struct sockaddr *)&address, sizeof address) < 0; i++) {
        if (errno != ECONNREFUSED || i == 1000)
            die("connect");
        wait_seconds(0.001); /* the socket is there, and nobody listens yet */
    }
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

static void ask(uint32_t slot, uint64_t offset)
{
    struct request request = {.magic = htobe32(0x25609513), .length = htobe32(rd.size), .cookie = slot};
    rd.slot[slot].offset = offset;
    rd.slot[slot].sent = now();
    request.offset = htobe64(rd.slot[slot].offset);
    put(&request, sizeof request);
    rd.asked++;
}

/* A reply's size is known, so header and data come in one call. */
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
        ask(i, pick());
    do {
        uint32_t slot = receive();
        uint64_t offset = rd.slot[slot].offset;
        t = now();
        if (!rd.done)
            first = t - begin;
        rd.sample[rd.done++ % SAMPLES_MAX] = (float)(t - rd.slot[slot].sent);
        if (rd.asked < count && t - connected < rd.seconds && rd.depth > 1)
            ask(slot, pick());
        check(offset);
        if (rd.asked < count && t - connected < rd.seconds && rd.depth == 1)
            ask(slot, pick());
    } while (rd.done < rd.asked);
    qsort(rd.sample, rd.done < SAMPLES_MAX ? rd.done : SAMPLES_MAX, sizeof *rd.sample, by_value);
    double took = t - connected;
    printf("{\"device\": %llu, \"requests\": %llu, \"bytes\": %llu, \"seconds\": %.6f, \"handshake\": %.6f, \"first\": %.6f, "
           "\"mb_s\": %.3f, \"req_s\": %.3f, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f, \"wrong\": %llu}\n",
           (unsigned long long)rd.device, (unsigned long long)rd.done, (unsigned long long)(rd.done * rd.size), took,
           connected - begin, first, (double)(rd.done * rd.size) / took / 1e6, (double)rd.done / took,
           quantile(0.5) * 1e3, quantile(0.99) * 1e3, quantile(1) * 1e3, (unsigned long long)rd.wrong);
}

/* ---- a list of reads ---- */

static void add_listed(const char *line, uint32_t number)
{
    unsigned long long offset, length, think;
    if (*line == '#' || !strncmp(line, "size ", 5))
        return;
    if (sscanf(line, "%llu %llu %llu", &offset, &length, &think) != 3 || !length || length > LIST_LENGTH_MAX / SECTOR) {
        fprintf(stderr, "nbdread: %s: line %u\n", rd.list, number);
        exit(2);
    }
    if (rd.count % 1024 == 0 && !(rd.listed = realloc(rd.listed, (rd.count + 1024) * sizeof *rd.listed)))
        die("memory");
    rd.listed[rd.count++] = (struct listed){offset * SECTOR, (uint32_t)length * SECTOR, (uint32_t)think};
}

static void load_list(void)
{
    char line[128];
    FILE *f = fopen(rd.list, "r");
    if (!f)
        die(rd.list);
    for (uint32_t number = 1; fgets(line, sizeof line, f); number++)
        add_listed(line, number);
    fclose(f);
}

static uint32_t longest_listed(void)
{
    uint32_t longest = rd.size;
    for (size_t i = 0; i < rd.count; i++)
        longest = rd.listed[i].length > longest ? rd.listed[i].length : longest;
    return longest;
}

/* How long it took. Checking the data belongs to the host's thinking. */
static double read_listed(const struct listed *l)
{
    double answered = now();
    if (rd.done)
        check(rd.slot[0].offset);
    wait_seconds(l->think_us / 1e6 * rd.think - (now() - answered));
    rd.size = l->length;
    ask(0, l->offset);
    receive();
    return now() - rd.slot[0].sent;
}

static void print_stalls(void)
{
    const char *comma = "";
    printf(", \"stall\": [");
    for (size_t i = 0; i < rd.done && i < SAMPLES_MAX; i++)
        if ((double)rd.sample[i] > STALL) {
            printf("%s[%zu, %llu, %.1f]", comma, i, (unsigned long long)rd.listed[i].offset, (double)rd.sample[i] * 1e3);
            comma = ", ";
        }
    printf("]");
}

static void run_list(void)
{
    double begin = now(), connected, waited = 0, stalled = 0, first = 0;
    uint64_t bytes = 0, stalls = 0;
    load_list();
    free(rd.buffer);
    if (!(rd.buffer = malloc(longest_listed())))
        die("memory");
    dial();
    handshake();
    connected = now();
    while (rd.done < rd.count && now() - connected < rd.seconds) {
        const struct listed *l = &rd.listed[rd.done];
        if (l->offset + l->length > rd.device)
            die("the image is too small");
        double took = read_listed(l);
        first = rd.done ? first : now() - begin;
        waited += took;
        bytes += l->length;
        stalls += took > STALL;
        stalled += took > STALL ? took : 0;
        rd.sample[rd.done++ % SAMPLES_MAX] = (float)took;
    }
    double took = now() - connected;
    if (rd.done)
        check(rd.slot[0].offset);
    printf("{\"device\": %llu, \"requests\": %llu, \"of\": %zu, \"bytes\": %llu, \"seconds\": %.6f, \"waited\": %.6f, "
           "\"handshake\": %.6f, \"first\": %.6f, \"mb_s\": %.3f, \"req_s\": %.3f, \"stalls\": %llu, \"stalled\": %.6f",
           (unsigned long long)rd.device, (unsigned long long)rd.done, rd.count, (unsigned long long)bytes, took, waited,
           connected - begin, first, (double)bytes / took / 1e6, (double)rd.done / took, (unsigned long long)stalls, stalled);
    if (rd.tell_stalls)
        print_stalls();
    qsort(rd.sample, rd.done < SAMPLES_MAX ? rd.done : SAMPLES_MAX, sizeof *rd.sample, by_value);
    printf(", \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f, \"wrong\": %llu}\n",
           quantile(0.5) * 1e3, quantile(0.99) * 1e3, quantile(1) * 1e3, (unsigned long long)rd.wrong);
}

static void usage(void)
{
    fprintf(stderr, "usage: nbdread --socket PATH [--export NAME] [--mode seq|rand] [--size N] [--depth N] [--bytes N]\n"
                    "               [--seconds T] [--offset N] [--seed N] [--check-all]\n"
                    "       nbdread --socket PATH [--export NAME] --mode list --list FILE [--think[=FACTOR]] [--stalls]\n"
                    "               [--seconds T] [--check-all]\n"
                    "       nbdread --make FILE --bytes N\n");
    exit(2);
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", 1, NULL, 's'}, {"export", 1, NULL, 'e'}, {"mode", 1, NULL, 'm'},  {"size", 1, NULL, 'z'},
        {"depth", 1, NULL, 'd'},  {"bytes", 1, NULL, 'b'},  {"seconds", 1, NULL, 't'}, {"offset", 1, NULL, 'o'},
        {"seed", 1, NULL, 'r'},   {"check-all", 0, NULL, 'c'}, {"make", 1, NULL, 'M'}, {"list", 1, NULL, 'l'},
        {"think", 2, NULL, 'k'},  {"stalls", 0, NULL, 'S'}, {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's': rd.socket = optarg; break;
        case 'e': rd.export = optarg; break;
        case 'm': rd.mode = optarg; break;
        case 'z': rd.size = (uint32_t)strtoul(optarg, NULL, 0); break;
        case 'd': rd.depth = (uint32_t)strtoul(optarg, NULL, 0); break;
        case 'b': rd.bytes = strtoull(optarg, NULL, 0); break;
        case 't': rd.seconds = strtod(optarg, NULL); break;
        case 'o': rd.offset = strtoull(optarg, NULL, 0); break;
        case 'r': rd.seed = strtoull(optarg, NULL, 0); break;
        case 'c': rd.check_all = true; break;
        case 'M': rd.make = optarg; break;
        case 'l': rd.list = optarg; break;
        case 'k': rd.think = optarg ? strtod(optarg, NULL) : 1; break;
        case 'S': rd.tell_stalls = true; break;
        default: usage();
        }
    }
    rd.random = !strcmp(rd.mode, "rand");
    if (!rd.seconds)
        rd.seconds = rd.list ? 1e9 : 60;
    if ((!rd.socket && !rd.make) || rd.size < SECTOR || rd.size % SECTOR || !rd.depth || rd.depth > DEPTH_MAX ||
        rd.bytes < rd.size || !rd.list == !strcmp(rd.mode, "list"))
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
    if (rd.list)
        run_list();
    else
        run();
    return rd.wrong ? 1 : 0;
}
