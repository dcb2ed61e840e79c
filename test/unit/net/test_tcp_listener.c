/* Listening addresses, caps, sockets handed over, and HTTPS from end to end with curl. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "base/log.h"
#include "http/server.h"
#include "net/socket.h"
#include "net/tcp_listener.h"
#include "net/tls.h"

#define STREAMS 20

static struct {
    uv_loop_t loop;
    struct stream *streams[STREAMS];
    struct tcp_claim *claims[STREAMS];
    char peers[STREAMS][TCP_ADDRESS_SIZE];
    unsigned count, closed;
} server;

static void on_stream_closed(struct stream *stream)
{
    for (unsigned i = 0; i < server.count; i++)
        if (server.streams[i] == stream)
            server.streams[i] = NULL;
    stream_free(stream);
    server.closed++;
}

static void on_accept(struct tcp_listener *listener, struct stream *stream, const char *peer, struct tcp_claim *claim)
{
    assert_ptr_equal(tcp_listener_owner(listener), &server);
    assert_true(server.count < STREAMS);
    stream->on_closed = on_stream_closed;
    strcpy(server.peers[server.count], peer);
    server.claims[server.count] = claim;
    server.streams[server.count++] = stream;
}

static void begin(void)
{
    memset(&server, 0, sizeof server);
    test_loop_begin(&server.loop);
}

static struct tcp_listener *listen_with(const struct tcp_listener_options *options, int *status, char error[200])
{
    error[0] = 0;
    return tcp_listener_new(&server.loop, options, on_accept, &server, status, error, 200);
}

static struct tcp_listener *listen_at(const char *address, struct tcp_limits *limits)
{
    struct tcp_listener_options options = {.address = address, .backlog = 16, .mode = 0600, .limits = limits};
    char error[200];
    int status;
    struct tcp_listener *listener = listen_with(&options, &status, error);
    if (!listener)
        fail_msg("%s", error);
    return listener;
}

static void run(void)
{
    for (int i = 0; i < 10; i++)
        uv_run(&server.loop, UV_RUN_NOWAIT);
}

static int connect_from(const char *from, const struct sockaddr_storage *to)
{
    struct sockaddr_storage local;
    socklen_t length = to->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (from) {
        assert_true(tcp_address_parse(from, &local));
        assert_int_equal(bind(fd, (struct sockaddr *)&local, length), 0);
    }
    assert_int_equal(connect(fd, (const struct sockaddr *)to, length), 0);
    run();
    return fd;
}

static int connect_to(const struct tcp_listener *listener, const char *from)
{
    struct sockaddr_storage address;
    assert_true(tcp_address_parse(tcp_listener_address(listener), &address));
    return connect_from(from, &address);
}

static bool is_closed(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void end(struct tcp_listener *listener)
{
    tcp_listener_close(listener);
    for (unsigned i = 0; i < server.count; i++)
        if (server.streams[i])
            stream_close(server.streams[i]);
    test_loop_end(&server.loop);
    assert_int_equal(server.closed, server.count);
}

static void what_a_peer_does_not_take_ends_its_connection(void **state)
{
    (void)state;
    begin();
    struct tcp_listener *listener = listen_at("127.0.0.1:0", NULL);
    int fd = connect_to(listener, NULL), timeout = 0;
    socklen_t length = sizeof timeout;
    assert_int_equal(server.count, 1);
    assert_int_equal(getsockopt(socket_fd(server.streams[0]), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, &length), 0);
    assert_int_equal(timeout, TCP_DEAD_MS);
    close(fd);
    end(listener);
}

static void addresses_are_parsed_and_written(void **state)
{
    (void)state;
    static const char *const good[][2] = {{"127.0.0.1:80", "127.0.0.1:80"},
                                          {"0.0.0.0:0", "0.0.0.0:0"},
                                          {"[::]:443", "[::]:443"},
                                          {"*:443", "[::]:443"},
                                          {"[2001:DB8::0:1]:65535", "[2001:db8::1]:65535"},
                                          {"[::ffff:192.0.2.1]:1", "192.0.2.1:1"},
                                          {"[fe80::1%lo]:443", "[fe80::1%lo]:443"}};
    static const char *const bad[] = {"",
                                      "80",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:-1",
                                      "localhost:80",
                                      "::1:80",
                                      "[::1:80",
                                      "[]:80",
                                      ":80",
                                      "[::1]80",
                                      "127.1:80",
                                      "[::1]:+80",
                                      "[::1]: 80",
                                      "[fe80::1%none]:1",
                                      "[127.0.0.1]:80"};
    struct sockaddr_storage address;
    char text[TCP_ADDRESS_SIZE];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(tcp_address_parse(good[i][0], &address));
        tcp_address_text(&address, text);
        assert_string_equal(text, good[i][1]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (tcp_address_parse(bad[i], &address))
            fail_msg("%s is taken", bad[i]);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(tcp_address_is_written(good[i][0]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (strchr(bad[i], '%')) /* the interface is not there, yet */
            assert_true(tcp_address_is_written(bad[i]));
        else if (tcp_address_is_written(bad[i]))
            fail_msg("%s is taken", bad[i]);
    assert_true(tcp_address_is_written("unix:/run/x"));
    assert_false(tcp_address_is_written("unix:x") || tcp_address_is_written("[fe80::1%]:1") || tcp_address_is_written("[fe80%lo]:1"));
}

static void the_port_is_chosen_and_the_peer_known(void **state)
{
    (void)state;
    begin();
    struct tcp_listener *listener = listen_at("127.0.0.1:0", NULL);
    assert_true(strncmp(tcp_listener_address(listener), "127.0.0.1:", 10) == 0);
    assert_true(atoi(tcp_listener_address(listener) + 10) > 0);
    assert_true(tcp_listener_is_local(listener));
    int fd = connect_to(listener, "127.0.0.2:0");
    assert_int_equal(server.count, 1);
    assert_true(strncmp(server.peers[0], "127.0.0.2:", 10) == 0);
    close(fd);
    end(listener);
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&in6, sizeof in6) == 0;
    close(fd);
    return has;
}

static void one_socket_serves_both_families(void **state)
{
    (void)state;
    struct sockaddr_storage address;
    char text[40];
    if (!has_ipv6())
        skip();
    begin();
    struct tcp_listener *listener = listen_at("*:0", NULL);
    assert_false(tcp_listener_is_local(listener));
    int port = atoi(strrchr(tcp_listener_address(listener), ':') + 1);
    snprintf(text, sizeof text, "127.0.0.1:%d", port);
    tcp_address_parse(text, &address);
    int four = connect_from(NULL, &address);
    snprintf(text, sizeof text, "[::1]:%d", port);
    tcp_address_parse(text, &address);
    int six = connect_from(NULL, &address);
    assert_int_equal(server.count, 2);
    assert_true(strncmp(server.peers[0], "127.0.0.1:", 10) == 0);
    assert_true(strncmp(server.peers[1], "[::1]:", 6) == 0);
    close(four);
    close(six);
    end(listener);
}

static void caps_hold_in_all_and_for_each_address(void **state)
{
    (void)state;
    struct tcp_limits limits;
    int fds[6];
    tcp_limits_init(&limits, 4, 2);
    begin();
    struct tcp_listener *listener = listen_at("0.0.0.0:0", &limits);
    static const char *const from[] = {"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0",
                                       "127.0.0.2:0", "127.0.0.3:0", "127.0.0.4:0"};
    static const bool refused[] = {false, false, true, false, false, true};
    struct sockaddr_storage to;
    char text[40];
    snprintf(text, sizeof text, "127.0.0.1:%s", strrchr(tcp_listener_address(listener), ':') + 1);
    assert_true(tcp_address_parse(text, &to));
    for (int i = 0; i < 6; i++) {
        fds[i] = connect_from(from[i], &to);
        assert_int_equal(is_closed(fds[i]), refused[i]);
    }
    assert_int_equal(limits.count, 4);
    assert_int_equal(limits.refused, 2);
    stream_close(server.streams[0]); /* who leaves makes room */
    run();
    assert_int_equal(limits.count, 3);
    int again = connect_from("127.0.0.1:0", &to);
    assert_false(is_closed(again));
    for (int i = 0; i < 6; i++)
        close(fds[i]);
    close(again);
    end(listener);
    assert_int_equal(limits.count, 0);
    assert_true(list_empty(&limits.addresses));
}

/* A proxy's connections count for whom it asks. */
static void a_proxy_has_connections_of_many(void **state)
{
    (void)state;
    struct tcp_limits limits;
    struct address_prefixes proxies;
    struct sockaddr_storage to;
    char text[40];
    int fds[5];
    tcp_limits_init(&limits, 10, 2);
    assert_true(address_prefixes_parse(&proxies, "127.0.0.1"));
    limits.proxies = &proxies;
    begin();
    struct tcp_listener *listener = listen_at("0.0.0.0:0", &limits);
    snprintf(text, sizeof text, "127.0.0.1:%s", strrchr(tcp_listener_address(listener), ':') + 1);
    assert_true(tcp_address_parse(text, &to));
    for (int i = 0; i < 4; i++) {
        fds[i] = connect_from("127.0.0.1:0", &to);
        assert_false(is_closed(fds[i]));
    }
    assert_true(tcp_claim_move(server.claims[0], "203.0.113.9"));
    assert_true(tcp_claim_move(server.claims[0], "203.0.113.9"));
    assert_true(tcp_claim_move(server.claims[1], "::ffff:203.0.113.9"));
    assert_int_equal(tcp_claim_share(server.claims[0]), 2);
    assert_false(tcp_claim_move(server.claims[2], "203.0.113.9"));
    assert_true(tcp_claim_move(server.claims[2], "2001:db8::1"));
    assert_true(tcp_claim_move(server.claims[3], "2001:db8::2"));
    assert_true(tcp_claim_move(server.claims[1], "198.51.100.7"));
    assert_true(tcp_claim_move(server.claims[1], NULL));
    assert_true(tcp_claim_move(server.claims[1], "127.0.0.1")); /* the proxy for itself */
    assert_int_equal(tcp_claim_share(server.claims[1]), 1);
    fds[4] = connect_from("127.0.0.2:0", &to);
    assert_true(tcp_claim_move(server.claims[2], "127.0.0.2"));
    assert_int_equal(tcp_claim_share(server.claims[4]), 2);
    for (int i = 0; i < 5; i++)
        close(fds[i]);
    end(listener);
    assert_int_equal(limits.count, 0);
    assert_true(list_empty(&limits.addresses));
}

static bool close_first(void *arg)
{
    unsigned *asked = arg;
    return ++*asked == 1 && (stream_close(server.streams[0]), true);
}

static void room_is_made_when_all_are_taken(void **state)
{
    (void)state;
    struct tcp_limits limits;
    struct sockaddr_storage to;
    unsigned asked = 0;
    int fds[4];
    tcp_limits_init(&limits, 2, 0);
    limits.make_room = close_first;
    limits.make_room_arg = &asked;
    begin();
    struct tcp_listener *listener = listen_at("127.0.0.1:0", &limits);
    assert_true(tcp_address_parse(tcp_listener_address(listener), &to));
    for (int i = 0; i < 4; i++)
        fds[i] = connect_from("127.0.0.1:0", &to);
    assert_true(is_closed(fds[0]));
    assert_false(is_closed(fds[1]) || is_closed(fds[2]));
    assert_true(is_closed(fds[3])); /* nobody would go for it */
    assert_int_equal(asked, 2);
    assert_int_equal(limits.count, 2);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    end(listener);
    assert_int_equal(limits.count, 0);
}

static void a_unix_socket_is_for_a_proxy(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct tcp_limits limits;
    struct stat st;
    char text[120];
    tcp_limits_init(&limits, 1, 1);
    snprintf(address.sun_path, sizeof address.sun_path, "test_tcp_listener.%d", (int)getpid());
    snprintf(text, sizeof text, "unix:%s", address.sun_path);
    begin();
    struct tcp_listener *listener = listen_at(text, &limits);
    assert_string_equal(tcp_listener_address(listener), text);
    assert_true(tcp_listener_is_local(listener));
    assert_int_equal(stat(address.sun_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    int fds[2];
    for (int i = 0; i < 2; i++) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&address, sizeof address), 0);
        run();
        assert_int_equal(is_closed(fds[i]), i == 1);
    }
    assert_string_equal(server.peers[0], "unix");
    close(fds[0]);
    close(fds[1]);
    end(listener);
    assert_int_equal(stat(address.sun_path, &st), -1);
    assert_int_equal(limits.count, 0);
}

static void an_address_may_come_later(void **state)
{
    (void)state;
    begin();
    struct tcp_listener *listener = listen_at("192.0.2.1:0", NULL);
    assert_int_equal(strncmp(tcp_listener_address(listener), "192.0.2.1:", 10), 0);
    assert_false(tcp_listener_is_local(listener));
    end(listener);
}

static void errors_say_what_to_do(void **state)
{
    (void)state;
    char error[200];
    int status, pair[2];
    begin();
    struct tcp_listener *listener = listen_at("127.0.0.1:0", NULL);
    struct tcp_listener_options options = {.address = tcp_listener_address(listener), .backlog = 4};
    assert_null(listen_with(&options, &status, error));
    assert_int_equal(status, -EADDRINUSE);
    assert_non_null(strstr(error, "another port"));
    options.address = "localhost:443";
    assert_null(listen_with(&options, &status, error));
    assert_int_equal(status, -EINVAL);
    assert_non_null(strstr(error, "not an address"));
    options.address = "unix:/nonexistent/folder/x";
    assert_null(listen_with(&options, &status, error));
    assert_int_equal(status, -ENOENT);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    options.address = NULL;
    options.fd = pair[0];
    assert_null(listen_with(&options, &status, error));
    assert_int_equal(status, -EINVAL);
    assert_non_null(strstr(error, "not a listening"));
    close(pair[1]);
    end(listener);
}

static void sockets_may_be_handed_over(void **state)
{
    (void)state;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct tcp_listener_options options = {.address = NULL, .backlog = 4};
    char error[200];
    int status;
    options.fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(options.fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(options.fd, 1), 0);
    begin();
    struct tcp_listener *listener = listen_with(&options, &status, error);
    assert_non_null(listener);
    int fd = connect_to(listener, NULL);
    assert_int_equal(server.count, 1);
    close(fd);
    end(listener);
}

static void the_environment_tells_of_handed_over_sockets(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{NULL, "1"},   {"1", "1"},     {"self", NULL},
                                           {"self", "x"}, {"self", "-1"}, {"self", "17"}};
    char pid[20];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (cases[i][0])
            setenv("LISTEN_PID", strcmp(cases[i][0], "self") == 0 ? pid : cases[i][0], 1);
        if (cases[i][1])
            setenv("LISTEN_FDS", cases[i][1], 1);
        assert_int_equal(activation_fds(), 0);
    }
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "2", 1);
    assert_int_equal(activation_fds(), 2);
    assert_null(getenv("LISTEN_FDS"));
    assert_int_equal(activation_fds(), 0);
}

/* --- from end to end --- */

static struct tls_context *context;
static struct http_server *http;
static bool http_closed;

static void on_request(struct http_request *request, void *arg)
{
    char text[200];
    (void)arg;
    int length = snprintf(text, sizeof text, "%s %s tls=%d", request->method, request->path, request->tls);
    http_add_field(request, "Strict-Transport-Security", "max-age=31536000");
    http_reply(request, 200, "text/plain", text, (size_t)length);
}

static void on_https_accept(struct tcp_listener *listener, struct stream *stream, const char *peer,
                            struct tcp_claim *claim)
{
    struct http_client client = {
        .peer = peer, .tls = true, .subject = tls_stream_subject, .common_name = tls_stream_common_name};
    (void)listener;
    (void)claim;
    http_server_add_client(http, tls_stream_new(context, stream), &client);
}

static void on_http_closed(void *arg)
{
    (void)arg;
    http_closed = true;
}

struct child {
    uv_process_t process;
    uv_pipe_t out;
    char text[20000];
    size_t length;
    int64_t status;
    bool exited;
    int open;
};

static void on_child_handle_closed(uv_handle_t *handle)
{
    ((struct child *)handle->data)->open--;
}

static void on_exit_status(uv_process_t *process, int64_t status, int term)
{
    struct child *child = process->data;
    child->status = term ? -1 : status;
    child->exited = true;
    uv_close((uv_handle_t *)process, on_child_handle_closed);
}

static void on_child_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct child *child = handle->data;
    (void)suggested;
    *buf = uv_buf_init(child->text + child->length, (unsigned)(sizeof child->text - 1 - child->length));
}

static void on_child_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct child *child = stream->data;
    (void)buf;
    if (n > 0)
        child->length += (size_t)n;
    else if (n < 0)
        uv_close((uv_handle_t *)stream, on_child_handle_closed);
}

/* Runs a program with the loop until it ends; gives what it says on both outputs. */
static struct child *run_child(const char *const *arguments)
{
    static struct child child;
    memset(&child, 0, sizeof child);
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&child.out},
        {.flags = UV_INHERIT_FD, .data.fd = 2}};
    uv_process_options_t options = {.file = arguments[0],
                                    .args = (char **)(uintptr_t)arguments,
                                    .stdio = stdio,
                                    .stdio_count = 3,
                                    .exit_cb = on_exit_status};
    uv_pipe_init(&server.loop, &child.out, 0);
    child.process.data = child.out.data = &child;
    child.open = 2;
    assert_int_equal(uv_spawn(&server.loop, &child.process, &options), 0);
    uv_read_start((uv_stream_t *)&child.out, on_child_alloc, on_child_read);
    while (child.open > 0)
        uv_run(&server.loop, UV_RUN_ONCE);
    child.text[child.length] = 0;
    return &child;
}

static void curl_gets_a_page_by_https(void **state)
{
    (void)state;
    static const char *const names[] = {"bmc.example", "127.0.0.1", NULL};
    struct http_server_options http_options = {.who = "test", .handler = on_request, .max_connections = 10};
    struct tcp_listener_options options = {.address = "127.0.0.1:0", .backlog = 4};
    char error[300], certificate[100], key[100], url[100], resolve[100], named[100];
    int status;
    snprintf(certificate, sizeof certificate, "test_tcp_listener.%d.pem", (int)getpid());
    snprintf(key, sizeof key, "test_tcp_listener.%d.key", (int)getpid());
    begin();
    assert_true(tls_make_self_signed(names, certificate, key, error, sizeof error));
    struct tls_options tls = {.certificate = certificate, .key = key};
    context = tls_context_new(&tls, error, sizeof error);
    assert_non_null(context);
    http = http_server_new(&server.loop, &http_options);
    struct tcp_listener *listener =
        tcp_listener_new(&server.loop, &options, on_https_accept, NULL, &status, error, sizeof error);
    assert_non_null(listener);
    const char *port = strrchr(tcp_listener_address(listener), ':') + 1;
    snprintf(url, sizeof url, "https://127.0.0.1:%s/a%%20page", port);
    snprintf(named, sizeof named, "https://bmc.example:%s/named", port);
    snprintf(resolve, sizeof resolve, "bmc.example:%s:127.0.0.1", port);

    const char *const get[] = {"/usr/bin/curl", "-q",        "-sS",   "-i", "--noproxy", "*", "--cacert",
                               certificate,     "--resolve", resolve, url,  named,       NULL};
    struct child *child = run_child(get);
    if (child->status != 0)
        fail_msg("curl: %d", (int)child->status);
    assert_non_null(strstr(child->text, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(child->text, "GET /a page tls=1"));
    assert_non_null(strstr(child->text, "GET /named tls=1"));

    const char *const untrusted[] = {"/usr/bin/curl", "-q", "-s", "--noproxy", "*", url, NULL};
    assert_int_equal(run_child(untrusted)->status, 60); /* nobody trusts it by itself */
    snprintf(url, sizeof url, "http://127.0.0.1:%s/", port);
    const char *const plain[] = {"/usr/bin/curl", "-q", "-s", "--noproxy", "*", url, NULL};
    child = run_child(plain);
    assert_int_not_equal(child->status, 0);
    assert_int_equal(child->length, 0);

    tcp_listener_close(listener);
    http_closed = false;
    http_server_close(http, on_http_closed, NULL);
    while (!http_closed)
        uv_run(&server.loop, UV_RUN_ONCE);
    tls_context_free(context);
    unlink(certificate);
    unlink(key);
    test_loop_end(&server.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_parsed_and_written),
        cmocka_unit_test(what_a_peer_does_not_take_ends_its_connection),
        cmocka_unit_test(the_port_is_chosen_and_the_peer_known),
        cmocka_unit_test(one_socket_serves_both_families),
        cmocka_unit_test(caps_hold_in_all_and_for_each_address),
        cmocka_unit_test(a_proxy_has_connections_of_many),
        cmocka_unit_test(room_is_made_when_all_are_taken),
        cmocka_unit_test(a_unix_socket_is_for_a_proxy),
        cmocka_unit_test(an_address_may_come_later),
        cmocka_unit_test(errors_say_what_to_do),
        cmocka_unit_test(sockets_may_be_handed_over),
        cmocka_unit_test(the_environment_tells_of_handed_over_sockets),
        cmocka_unit_test(curl_gets_a_page_by_https),
    };
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
