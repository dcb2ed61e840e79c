/* /api/uploads over a real HTTP server. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../cmocka_all.h"
#include "base/log.h"
#include "net/socket.h"
#include "uploads_rig.h"

static void an_image_is_uploaded_listed_and_deleted(void **state)
{
    (void)state;
    assert_int_equal(ask("GET", "", "", NULL, 0), 200);
    assert_non_null(strstr(output, "Cache-Control: no-store"));
    assert_string_equal(body_of(), "{\"uploads\":[],\"free\":1073741824}");
    assert_int_equal(put_whole("/a.iso", 5000), 201);
    assert_created("a.iso", 5000);
    assert_int_equal(offset_of("/a.iso"), 5000);
    assert_int_equal(ask("GET", "", "", NULL, 0), 200);
    static const char row[] = "{\"uploads\":[{\"name\":\"a.iso\",\"size\":5000,\"offset\":5000,\"complete\":true,"
                              "\"sha256\":\"";
    assert_memory_equal(body_of(), row, sizeof row - 1);
    assert_non_null(strstr(body_of(), "\"free\":1073736824}"));
    assert_error(409, "already", put_whole("/a.iso", 10));
    assert_int_equal(offset_field(), 5000);
    inserted = "a.iso";
    assert_error(409, "eject", ask("DELETE", "/a.iso", "", NULL, 0));
    inserted = "b.iso";
    assert_int_equal(ask("DELETE", "/a.iso", "", NULL, 0), 204);
    assert_error(404, "no image a.iso", ask("DELETE", "/a.iso", "", NULL, 0));
    assert_int_equal(ask("HEAD", "/a.iso", "", NULL, 0), 404);
    assert_int_equal(offset_field(), -1);
    assert_int_equal(put_whole("/b%20%C3%A4", 5), 201);
    assert_created("b \xc3\xa4", 5);
}

static void pieces_come_in_order(void **state)
{
    (void)state;
    assert_int_equal(put_piece("/a", 0, 1000, 3000), 200);
    assert_string_equal(body_of(), "{\"offset\":1000}");
    assert_int_equal(offset_of("/a"), 1000);
    assert_error(409, "goes on at byte 1000", put_piece("/a", 0, 1000, 3000));
    assert_int_equal(offset_field(), 1000);
    assert_error(409, "goes on at byte 1000", put_piece("/a", 1001, 1000, 3000));
    assert_error(409, "delete it first", put_piece("/a", 1000, 1000, 3001));
    assert_error(409, "", put_piece("/b", 5, 5, 20));
    assert_int_equal(offset_field(), 0);
    assert_int_equal(ask("GET", "", "", NULL, 0), 200);
    assert_non_null(strstr(body_of(), "\"size\":3000,\"offset\":1000,\"complete\":false,\"sha256\":\"\""));
    assert_int_equal(put_piece("/a", 1000, 2000, 3000), 201);
    assert_created("a", 3000);
}

static void what_is_not_right_is_refused(void **state)
{
    (void)state;
    static const char *const ranges[] = {"bytes 0-4/*", "bytes */5",    "bytes 0-4",  "0-4/5",
                                         "bytes 4-0/5", "bytes 0-5/5",  "bytes -4/5", "bytes 0-4/5x",
                                         "lines 0-4/5", "bytes 0-4/-5", "",           "bytes 0-4/99999999999999999999"};
    char fields[200];
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        snprintf(fields, sizeof fields, "Content-Length: 5\r\nContent-Range: %s\r\n", ranges[i]);
        assert_error(400, "Content-Range", ask("PUT", "/a", fields, "12345", 5));
    }
    assert_error(400, "as long as", ask("PUT", "/a", "Content-Length: 4\r\nContent-Range: bytes 0-4/5\r\n", "1234", 4));
    assert_error(400, "There is nothing", ask("PUT", "/a", "Content-Length: 0\r\n", NULL, 0));
    assert_error(400, "dot", put_whole("/.a", 5));
    assert_error(400, "slash", put_whole("/a/b", 5));
    assert_error(400, "UTF-8", put_whole("/a%ff", 5));
    assert_error(400, "control", put_whole("/a%C2%80", 5));
    assert_error(400, "dot", ask("DELETE", "/.a", "", NULL, 0));
    assert_int_equal(ask("HEAD", "/.a", "", NULL, 0), 400);
    assert_error(411, "Content-Length", ask("PUT", "/a", "", NULL, 0));
    assert_error(411, "Content-Length", ask("PUT", "/a", "Transfer-Encoding: chunked\r\n", "1\r\na\r\n0\r\n\r\n", 11));
    assert_error(405, "method", ask("POST", "/a", "Content-Length: 0\r\n", NULL, 0));
    assert_non_null(strstr(output, "Allow: GET, HEAD, POST, PUT, DELETE\r\n"));
    assert_error(405, "method", ask("PUT", "", "Content-Length: 1\r\n", "x", 1));
    assert_int_equal(store_rig_files(&rig), 0);
}

static void who_may_only_read_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(put_whole("/a", 5), 201);
    caller.role = AUTH_READ_ONLY;
    assert_error(403, "The role ReadOnly", put_whole("/b", 5));
    assert_error(403, "The role ReadOnly", ask("DELETE", "/a", "", NULL, 0));
    assert_int_equal(offset_of("/a"), 5);
    assert_int_equal(ask("GET", "", "", NULL, 0), 200);
    caller.role = AUTH_ADMINISTRATOR;
    assert_int_equal(ask("DELETE", "/a", "", NULL, 0), 204);
}

static void there_must_be_room(void **state)
{
    (void)state;
    rig.options.max_bytes = 1000;
    restart();
    assert_error(413, "too large", put_whole("/a", 1001));
    assert_error(413, "too large", put_piece("/a", 0, 10, 100000000000));
    assert_int_equal(put_piece("/a", 0, 10, 600), 200);
    assert_error(507, "needs room", put_whole("/b", 401));
    rig.options.keep_free = UINT64_MAX;
    restart();
    assert_error(507, "needs room", put_whole("/b", 4));
    assert_int_equal(ask("GET", "", "", NULL, 0), 200);
    assert_non_null(strstr(body_of(), "\"free\":0}"));
    rig.options.max_bytes = 0;
    restart();
    assert_error(403, "turned off", put_whole("/b", 4));
}

static void an_upload_has_one_writer(void **state)
{
    (void)state;
    static const char head[] = "PUT /api/uploads/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n12345";
    int first = client;
    send_all(head, sizeof head - 1);
    store_rig_turn(&rig, 20);
    client = connect_client();
    assert_error(409, "already", put_whole("/a", 100));
    assert_error(409, "being uploaded", ask("DELETE", "/a", "", NULL, 0));
    close(first); /* what it brought stays */
    store_rig_turn(&rig, 20);
    assert_int_equal(offset_of("/a"), 5);
    assert_int_equal(ask("DELETE", "/a", "", NULL, 0), 204);
}

static const char begun[] = "PUT /api/uploads/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n";

/* A client whose PUT has brought some bytes, and no more. */
static int begin_and_stall(size_t bytes)
{
    int fd = client;
    send_all(begun, sizeof begun - 1);
    send_all(store_rig_data(), bytes);
    store_rig_turn(&rig, 20);
    client = connect_client();
    return fd;
}

static unsigned answer_on(int fd)
{
    int other = client;
    client = fd;
    used = 0;
    output[0] = 0;
    wait_answers(1, false);
    client = other;
    return status_of(output);
}

static void a_silent_upload_gives_way(void **state)
{
    (void)state;
    int first = begin_and_stall(5);
    store_rig_turn(&rig, UPLOADS_SILENT_MS);
    caller.user = "other";
    assert_error(409, "already", put_piece("/a", 5, 95, 100)); /* it is not theirs */
    caller.user = "op";
    assert_int_equal(put_piece("/a", 5, 95, 100), 201);
    assert_created("a", 100);
    assert_error(409, "gone on with by another", answer_on(first));
    close(first);
}

static void what_waits_for_a_silent_upload_may_go_too(void **state)
{
    (void)state;
    int first = begin_and_stall(5);
    store_rig_turn(&rig, UPLOADS_SILENT_MS);
    store_rig_hold_threads(&rig); /* its end takes long */
    int second = begin_and_stall(0);
    assert_int_equal(answer_on(first), 409);
    close(first);
    int third = begin_and_stall(0); /* one may wait */
    assert_error(409, "already", answer_on(third));
    close(second);
    close(third);
    store_rig_turn(&rig, 20);
    store_rig_release_threads(&rig);
    store_rig_turn(&rig, 20);
    assert_int_equal(offset_of("/a"), 5);
    assert_int_equal(put_piece("/a", 5, 95, 100), 201);
    assert_created("a", 100);
}

static void an_upload_with_a_password_ends_with_the_account(void **state)
{
    (void)state;
    int first = begin_and_stall(5);
    uploads_user_changed(uploads, "somebody");
    store_rig_turn(&rig, 20);
    assert_error(409, "already", put_piece("/a", 5, 95, 100));
    uploads_user_changed(uploads, "op");
    assert_error(401, "account", answer_on(first));
    close(first);
    assert_int_equal(put_piece("/a", 5, 95, 100), 201); /* somebody who may: after its end */
    assert_created("a", 100);
}

static void requests_may_be_sent_ahead(void **state)
{
    (void)state;
    static const size_t splits[] = {0, 1, 7, 100, 999};
    static uint8_t input[12000];
    size_t length = 0;
    for (size_t first = 0; first < 9000; first += 3000) {
        length += (size_t)sprintf((char *)input + length,
                                  "PUT /api/uploads/a HTTP/1.1\r\nHost: h\r\nContent-Range: bytes %zu-%zu/9000\r\n"
                                  "Content-Length: 3000\r\n\r\n",
                                  first, first + 2999);
        memcpy(input + length, store_rig_data() + first, 3000);
        length += 3000;
    }
    length += (size_t)sprintf((char *)input + length, "DELETE /api/uploads/a HTTP/1.1\r\nHost: h\r\n\r\n");
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        used = 0;
        output[0] = 0;
        for (size_t at = 0; at < length;) {
            size_t part = splits[i] && splits[i] < length - at ? splits[i] : length - at;
            send_all(input + at, part);
            at += part;
        }
        wait_answers(4, false);
        const char *at = output;
        static const unsigned statuses[] = {200, 200, 201, 204};
        for (unsigned k = 0; k < 4; k++) {
            assert_int_equal(status_of(at), statuses[k]);
            at += answer_length(at, false);
        }
        assert_int_equal(store_rig_files(&rig), 0);
    }
}

static void wait_no_connection(void)
{
    while (http_server_connections(server) > 0)
        store_rig_turn(&rig, 1);
}

static bool is_there(long long bytes)
{
    struct store_entry entry;
    return store_rig_find(&rig, "a", &entry) && entry.offset == (uint64_t)bytes;
}

/* What the server has been given of the body is kept, wherever the connection is cut. */
static void a_connection_is_cut_anywhere(void **state)
{
    (void)state;
    static uint8_t input[2000];
    const size_t head =
        (size_t)sprintf((char *)input, "PUT /api/uploads/a HTTP/1.1\r\nHost: h\r\n"
                                       "Content-Range: bytes 0-999/1500\r\nContent-Length: 1000\r\n\r\n");
    memcpy(input + head, store_rig_data(), 1000);
    for (size_t k = 0; k < head + 1000; k += k + 3 < head || k > head + 30 ? 13 : 1) {
        long long there = k > head ? (long long)(k - head) : 0;
        send_all(input, k);
        while (there > 0 && !is_there(there)) /* what waits for the piece to begin would go with the connection */
            store_rig_turn(&rig, 1);
        close(client);
        wait_no_connection();
        client = connect_client();
        ended = false;
        long long offset = offset_of("/a");
        assert_true(offset == there || (there == 0 && offset == -1));
        unsigned status = put_piece("/a", (uint64_t)there, (uint64_t)(1500 - there), 1500);
        for (int i = 0; i < 1000 && status == 409; i++)
            status = put_piece("/a", (uint64_t)there, (uint64_t)(1500 - there), 1500);
        assert_int_equal(status, 201);
        assert_created("a", 1500);
        assert_int_equal(ask("DELETE", "/a", "", NULL, 0), 204);
    }
}

static void a_slow_disk_slows_the_client(void **state)
{
    (void)state;
    const size_t size = 12u << 20;
    char head[200];
    size_t sent = 0;
    int n = snprintf(head, sizeof head, "PUT /api/uploads/a HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", size);
    send_all(head, (size_t)n);
    store_rig_turn(&rig, 20); /* it has begun */
    store_rig_hold_threads(&rig);
    for (int quiet = 0; quiet < 20;) {
        ssize_t got = send(client, store_rig_data() + sent, size - sent, MSG_NOSIGNAL);
        sent += got > 0 ? (size_t)got : 0;
        quiet = got > 0 ? 0 : quiet + 1;
        store_rig_turn(&rig, 1);
    }
    /* The store's, the server's, and the sockets' own. */
    assert_true(sent > STORE_BUFFER_MAX / 2 &&
                sent < STORE_BUFFER_MAX + HTTP_PIPELINE_MAX + SOCKET_READ_BUFFER + (1u << 20));
    store_rig_release_threads(&rig);
    used = 0;
    send_all(store_rig_data() + sent, size - sent);
    wait_answers(1, false);
    assert_int_equal(status_of(output), 201);
    assert_created("a", size);
}

static void a_client_may_go_while_it_is_answered(void **state)
{
    (void)state;
    static const char *const inputs[] = {"GET /api/uploads HTTP/1.1\r\nHost: h\r\n\r\n",
                                         "HEAD /api/uploads/a HTTP/1.1\r\nHost: h\r\n\r\n",
                                         "DELETE /api/uploads/a HTTP/1.1\r\nHost: h\r\n\r\n",
                                         "PUT /api/uploads/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n01234"};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        store_rig_hold_threads(&rig);
        assert_int_equal(send(client, inputs[i], strlen(inputs[i]), 0), strlen(inputs[i]));
        store_rig_turn(&rig, 5);
        close(client);
        wait_no_connection();
        store_rig_release_threads(&rig);
        client = connect_client();
    }
}

static void it_all_ends_in_the_middle(void **state)
{
    (void)state;
    static const char head[] = "PUT /api/uploads/a HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n";
    for (unsigned turns = 0; turns < 30; turns++) {
        send_all(head, sizeof head - 1);
        for (unsigned i = 0; i < turns; i++) {
            (void)!send(client, store_rig_data() + i, 100000, MSG_NOSIGNAL);
            uv_run(&rig.loop, UV_RUN_NOWAIT);
        }
        if (turns % 2) { /* the store first: its pieces are answered */
            stop_api();
            store_rig_close(&rig);
        } else {
            store_rig_close(&rig);
            stop_api();
        }
        store_rig_open(&rig);
        start_api();
        ask("DELETE", "/a", "", NULL, 0);
        assert_int_equal(store_rig_files(&rig), 0);
    }
}

static void uploads_and_deletions_are_in_the_audit_log(void **state)
{
    (void)state;
    char path[200], text[4000], sha256[STORE_SHA256], expected[400];
    snprintf(path, sizeof path, "%s/log", rig.folder);
    log_set_level(LOG_LEVEL_NOTICE);
    fflush(stderr);
    int old = dup(STDERR_FILENO), log = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(dup2(log, STDERR_FILENO) >= 0);
    put_piece("/a", 0, 10, 20);
    put_piece("/a", 10, 10, 20);
    ask("DELETE", "/a", "", NULL, 0);
    ask("DELETE", "/a", "", NULL, 0);
    fflush(stderr);
    dup2(old, STDERR_FILENO);
    log_set_level(LOG_LEVEL_WARNING);
    close(old);
    ssize_t n = pread(log, text, sizeof text - 1, 0);
    close(log);
    text[n > 0 ? n : 0] = 0;
    store_rig_digest(20, sha256);
    snprintf(expected, sizeof expected,
             "audit: upload: user=\"op\" peer=\"192.0.2.1\" subject=\"a\" detail=\"20 bytes, %s\"\n", sha256);
    const char *upload = strstr(text, expected);
    assert_non_null(upload);
    const char *deletion = strstr(upload, "audit: delete: user=\"op\" peer=\"192.0.2.1\" subject=\"a\"\n");
    assert_non_null(deletion);
    assert_null(strstr(deletion + 1, "audit:"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_image_is_uploaded_listed_and_deleted),
        TEST(pieces_come_in_order),
        TEST(what_is_not_right_is_refused),
        TEST(who_may_only_read_changes_nothing),
        TEST(there_must_be_room),
        TEST(an_upload_has_one_writer),
        TEST(a_silent_upload_gives_way),
        TEST(what_waits_for_a_silent_upload_may_go_too),
        TEST(an_upload_with_a_password_ends_with_the_account),
        TEST(requests_may_be_sent_ahead),
        TEST(a_connection_is_cut_anywhere),
        TEST(a_slow_disk_slows_the_client),
        TEST(a_client_may_go_while_it_is_answered),
        TEST(it_all_ends_in_the_middle),
        TEST(uploads_and_deletions_are_in_the_audit_log),
    };
    log_set_level(LOG_LEVEL_WARNING);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
