/*
 * wsserve - what a browser does, without the browser: an NBD server over a WebSocket over TLS that costs as little as it can.
 *
 *   wsserve --connect 127.0.0.1:PORT --path /nbd/0 --user U --password P --image FILE
 *       serves the file read-only until the other end closes; prints "serving" after the handshake, "closed CODE REASON" at the end.
 *   wsserve --connect 127.0.0.1:PORT --push --bytes N
 *       sends N bytes as messages of the size that a reply has, as fast as they are taken.
 *   wsserve --sink --certificate FILE --key FILE --bytes N
 *       the other end of that: prints its port, takes one WebSocket, throws away what comes, prints how fast it was.
 *
 * One thread, blocking calls. Frames are masked with the key 0, which spares this end the exclusive-or; the other end does it
 * all the same. The certificate is not checked.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 256 << 10, READ_MAX = 16 << 20, HEAD = 14, REPLY = 16, INPUT = 64 << 10 };
enum { BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };
enum { OPTION_EXPORT_NAME = 1, COMMAND_READ = 0, COMMAND_DISC = 2, NBD_EPERM = 1, NBD_EINVAL = 22 };

static struct {
    const char *connect, *path, *user, *password, *image, *certificate, *key;
    bool push, sink;
    uint64_t bytes;
    SSL *ssl;
    const uint8_t *data; /* the image */
    uint64_t size;
    uint8_t *out;
    uint8_t in[INPUT];
    char head[8192];     /* of HTTP */
    size_t have, at;     /* in `in` */
    uint64_t frame_left; /* of the data frame that is read */
} ws = {.path = "/nbd/0", .user = "", .password = "", .bytes = 1 << 30};

static void die(const char *what)
{
    fprintf(stderr, "wsserve: %s: ", what);
    ERR_print_errors_fp(stderr);
    perror(NULL);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- TLS ---- */

static void attach(SSL_CTX *context, int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    ws.ssl = SSL_new(context);
    SSL_set_fd(ws.ssl, fd);
}

static struct sockaddr_in address_of(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[64];
    unsigned port;
    if (sscanf(text, "%63[0-9.]:%u", host, &port) != 2 || inet_pton(AF_INET, host, &address.sin_addr) != 1)
        die("--connect is like 127.0.0.1:443");
    address.sin_port = htons((uint16_t)port);
    return address;
}

static void dial(void)
{
    struct sockaddr_in address = address_of(ws.connect);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect");
    attach(SSL_CTX_new(TLS_client_method()), fd);
    if (SSL_connect(ws.ssl) != 1)
        die("TLS");
}

static void put(const void *data, size_t length)
{
    if (SSL_write(ws.ssl, data, (int)length) != (int)length)
        die("send");
}

/* More bytes in `in`; false at the end. */
static bool fill(void)
{
    int n = SSL_read(ws.ssl, ws.in, INPUT);
    ws.at = 0;
    ws.have = n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* ---- HTTP ---- */

static bool read_head(const char *wanted)
{
    size_t length = 0;
    memset(ws.head, 0, sizeof ws.head);
    while (!strstr(ws.head, "\r\n\r\n")) {
        if ((ws.at == ws.have && !fill()) || length == sizeof ws.head - 1)
            return false;
        ws.head[length++] = (char)ws.in[ws.at++];
    }
    return strncmp(ws.head, wanted, strlen(wanted)) == 0;
}

static void upgrade(void)
{
    char credentials[256], base64[384], head[1024];
    snprintf(credentials, sizeof credentials, "%s:%s", ws.user, ws.password);
    EVP_EncodeBlock((uint8_t *)base64, (const uint8_t *)credentials, (int)strlen(credentials));
    snprintf(head, sizeof head,
             "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Basic %s\r\n\r\n",
             ws.path, ws.connect, base64);
    put(head, strlen(head));
    if (!read_head("HTTP/1.1 101")) {
        fprintf(stderr, "wsserve: %s\n", ws.head);
        exit(1);
    }
}

/* ---- frames ---- */

/* The head of a frame, in front of `payload`; gives where it starts. Its mask is 0. */
static uint8_t *frame(uint8_t *payload, uint8_t opcode, size_t length)
{
    uint8_t *head = payload - (length < 126 ? 6 : length < 65536 ? 8 : HEAD);
    uint16_t short_length = htobe16((uint16_t)length);
    uint64_t long_length = htobe64(length);
    memset(payload - 4, 0, 4);
    head[0] = 0x80 | opcode;
    head[1] = 0x80 | (uint8_t)(length < 126 ? length : length < 65536 ? 126 : 127);
    if (length >= 65536)
        memcpy(head + 2, &long_length, 8);
    else if (length >= 126)
        memcpy(head + 2, &short_length, 2);
    return head;
}

static void put_message(uint8_t opcode, size_t length)
{
    uint8_t *head = frame(ws.out + HEAD, opcode, length);
    put(head, (size_t)(ws.out + HEAD - head) + length);
}

static void get_raw(void *to, size_t length)
{
    for (size_t got = 0; got < length;) {
        if (ws.at == ws.have && !fill()) {
            puts("closed 1006");
            exit(0);
        }
        size_t part = length - got < ws.have - ws.at ? length - got : ws.have - ws.at;
        memcpy((uint8_t *)to + got, ws.in + ws.at, part);
        ws.at += part;
        got += part;
    }
}

static void control(uint8_t opcode, size_t length)
{
    uint8_t payload[126] = {0};
    get_raw(payload, length);
    memcpy(ws.out + HEAD, payload, length);
    if (opcode == PING)
        put_message(PONG, length);
    if (opcode != CLOSE)
        return;
    printf("closed %u %s\n", length >= 2 ? payload[0] << 8 | payload[1] : 1005, length > 2 ? (char *)payload + 2 : "");
    put_message(CLOSE, length >= 2 ? 2 : 0);
    exit(0);
}

static void next_frame(void)
{
    uint8_t head[2], more[8] = {0};
    get_raw(head, 2);
    uint64_t length = head[1] & 0x7f;
    if (length >= 126) {
        unsigned bytes = length == 126 ? 2 : 8;
        get_raw(more, bytes);
        for (unsigned i = length = 0; i < bytes; i++)
            length = length << 8 | more[i];
    }
    if ((head[0] & 0x0f) >= CLOSE)
        control(head[0] & 0x0f, (size_t)length);
    else
        ws.frame_left = length;
}

/* Bytes of NBD, however they were cut into frames. */
static void get(void *to, size_t length)
{
    for (size_t got = 0; got < length;) {
        while (ws.frame_left == 0)
            next_frame();
        size_t part = length - got < ws.frame_left ? length - got : (size_t)ws.frame_left;
        get_raw((uint8_t *)to + got, part);
        ws.frame_left -= part;
        got += part;
    }
}

/* ---- NBD ---- */

static void store(uint8_t *to, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

static uint64_t load(const uint8_t *from, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | from[i];
    return value;
}

static void handshake(void)
{
    uint8_t flags[4], option[16], data[256], *out = ws.out + HEAD;
    memcpy(out, "NBDMAGICIHAVEOPT\0\3", 18);
    put_message(BINARY, 18);
    get(flags, sizeof flags);
    for (;;) {
        get(option, sizeof option);
        size_t length = (size_t)load(option + 12, 4);
        if (length > sizeof data)
            die("option");
        get(data, length);
        if (load(option + 8, 4) == OPTION_EXPORT_NAME)
            break;
        store(out, 0x3e889045565a9, 8);
        memcpy(out + 8, option + 8, 4);
        store(out + 12, 0x8000000100000000, 8);
        put_message(BINARY, 20);
    }
    memset(out, 0, 134);
    store(out, ws.size, 8);
    store(out + 8, 3, 2); /* read-only */
    put_message(BINARY, flags[3] & 2 ? 10 : 134);
}

static void reply(const uint8_t *request, uint32_t error, const uint8_t *data, size_t length)
{
    uint8_t *out = ws.out + HEAD;
    store(out, 0x67446698, 4);
    store(out + 4, error, 4);
    memcpy(out + 8, request + 8, 8);
    if (length)
        memcpy(out + REPLY, data, length);
    put_message(BINARY, REPLY + length);
}

static void serve(void)
{
    uint8_t request[28];
    for (;;) {
        get(request, sizeof request);
        uint64_t offset = load(request + 16, 8), length = load(request + 24, 4);
        if (load(request, 4) != 0x25609513 || length > READ_MAX)
            die("a request that is none");
        if (load(request + 6, 2) == COMMAND_READ && offset <= ws.size && length <= ws.size - offset)
            reply(request, 0, ws.data + offset, (size_t)length);
        else if (load(request + 6, 2) != COMMAND_DISC)
            reply(request, load(request + 6, 2) == COMMAND_READ ? NBD_EINVAL : NBD_EPERM, NULL, 0);
    }
}

/* ---- modes ---- */

static void run_server(void)
{
    struct stat st;
    int fd = open(ws.image, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) < 0)
        die(ws.image);
    ws.size = (uint64_t)st.st_size;
    ws.data = mmap(NULL, ws.size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (ws.data == MAP_FAILED)
        die("mmap");
    dial();
    upgrade();
    handshake();
    puts("serving");
    serve();
}

static void run_push(void)
{
    dial();
    upgrade();
    for (uint64_t sent = 0; sent < ws.bytes; sent += MESSAGE)
        put_message(BINARY, MESSAGE + REPLY);
    while (fill())
        ;
}

static void accept_upgrade(void)
{
    char key[128], accept[64], answer[256];
    uint8_t digest[EVP_MAX_MD_SIZE];
    const char *field = strcasestr(ws.head, "\r\nSec-WebSocket-Key: ");
    snprintf(key, sizeof key, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", field ? field + 21 : "");
    EVP_Digest(key, strlen(key), digest, NULL, EVP_sha1(), NULL);
    EVP_EncodeBlock((uint8_t *)accept, digest, 20);
    snprintf(answer, sizeof answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                    "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
    put(answer, strlen(answer));
}

static void run_sink(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (SSL_CTX_use_certificate_file(context, ws.certificate, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, ws.key, SSL_FILETYPE_PEM) != 1)
        die("certificate");
    if (bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 4) < 0)
        die("listen");
    getsockname(fd, (struct sockaddr *)&address, &length);
    printf("%u\n", ntohs(address.sin_port));
    do { /* a browser may try the port first */
        attach(context, accept(fd, NULL, NULL));
        ws.at = ws.have = 0;
    } while (SSL_accept(ws.ssl) != 1 || !read_head("GET "));
    accept_upgrade();
    double begin = now();
    uint64_t got = 0;
    while (got < ws.bytes && fill())
        got += ws.have;
    double took = now() - begin;
    printf("{\"bytes\": %llu, \"seconds\": %.6f, \"mb_s\": %.3f}\n", (unsigned long long)got, took, (double)got / took / 1e6);
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"connect", 1, NULL, 'c'}, {"path", 1, NULL, 'p'},        {"user", 1, NULL, 'u'}, {"password", 1, NULL, 'w'},
        {"image", 1, NULL, 'i'},   {"certificate", 1, NULL, 'e'}, {"key", 1, NULL, 'k'},  {"bytes", 1, NULL, 'b'},
        {"push", 0, NULL, 'P'},    {"sink", 0, NULL, 'S'},        {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'c': ws.connect = optarg; break;
        case 'p': ws.path = optarg; break;
        case 'u': ws.user = optarg; break;
        case 'w': ws.password = optarg; break;
        case 'i': ws.image = optarg; break;
        case 'e': ws.certificate = optarg; break;
        case 'k': ws.key = optarg; break;
        case 'b': ws.bytes = strtoull(optarg, NULL, 0); break;
        case 'P': ws.push = true; break;
        case 'S': ws.sink = true; break;
        default: exit(2);
        }
    }
    if (ws.sink ? !ws.certificate || !ws.key : !ws.connect || (!ws.push && !ws.image)) {
        fprintf(stderr, "see the head of wsserve.c\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    setlinebuf(stdout);
    ws.out = calloc(1, HEAD + REPLY + READ_MAX);
    if (ws.sink)
        run_sink();
    else if (ws.push)
        run_push();
    else
        run_server();
    return 0;
}
