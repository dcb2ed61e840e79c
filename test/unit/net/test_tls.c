/* TLS as a stream on a stream, against OpenSSL's client, whatever way its bytes are cut. */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "net/socket.h"
#include "net/tls.h"
#include "tls_peer.h"

#define BULK 300000u

static char folder[64], certificate_path[100], key_path[100], ca_path[100], client_path[100], client_key_path[100];
static struct tls_pair ca, other_ca;

struct end {
    uv_loop_t loop;
    struct tls_context *context;
    struct stream *stream;
    struct tls_peer peer;
    unsigned char got[BULK];
    size_t length, stop_after; /* stop_after: reading is switched off with that many bytes */
    int ends, end_status, drains;
    bool closed, inside, echo;
};

static void on_data(struct stream *stream, const uint8_t *data, size_t length)
{
    struct end *end = stream->owner;
    assert_false(end->inside);
    assert_true(end->length + length <= sizeof end->got);
    memcpy(end->got + end->length, data, length);
    end->length += length;
    if (end->echo) {
        struct slices copy;
        slices_init(&copy);
        slices_add_copy(&copy, data, (uint32_t)length);
        stream_write(stream, &copy);
    }
    if (end->stop_after && end->length >= end->stop_after)
        stream_read(stream, false);
}

static void on_end(struct stream *stream, int status)
{
    struct end *end = stream->owner;
    assert_false(end->inside);
    end->ends++;
    end->end_status = status;
}

static void on_drain(struct stream *stream)
{
    struct end *end = stream->owner;
    assert_false(end->inside);
    assert_int_equal(stream->unsent, 0);
    end->drains++;
}

static void on_closed(struct stream *stream)
{
    struct end *end = stream->owner;
    assert_false(end->inside);
    end->closed = true;
    stream_free(stream);
}

static struct tls_options options_of(bool client, bool required)
{
    return (struct tls_options){.certificate = certificate_path,
                                .key = key_path,
                                .client_ca = client ? ca_path : NULL,
                                .client_required = required};
}

static void connect_peer(struct end *end)
{
    int pair[2], status;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    end->stream = tls_stream_new(end->context, socket_stream_new(&end->loop, pair[0], &status));
    end->stream->owner = end;
    end->stream->on_data = on_data;
    end->stream->on_end = on_end;
    end->stream->on_drain = on_drain;
    end->stream->on_closed = on_closed;
    stream_read(end->stream, true);
    tls_peer_begin(&end->peer, &end->loop, pair[1]);
}

static struct end *begin_with(const struct tls_options *options)
{
    static struct end end;
    char error[200];
    memset(&end, 0, sizeof end);
    test_loop_begin(&end.loop);
    end.context = tls_context_new(options, error, sizeof error);
    if (!end.context)
        fail_msg("%s", error);
    connect_peer(&end);
    return &end;
}

static struct end *begin(void)
{
    struct tls_options options = options_of(false, false);
    return begin_with(&options);
}

static void run(struct end *end, int turns)
{
    for (int i = 0; i < turns; i++)
        uv_run(&end->loop, UV_RUN_NOWAIT);
}

static void disconnect(struct end *end)
{
    if (!end->closed) {
        end->inside = true;
        stream_close(end->stream);
        stream_close(end->stream);
        end->inside = false;
    }
    while (!end->closed)
        uv_run(&end->loop, UV_RUN_ONCE);
    tls_peer_end(&end->peer);
    end->closed = false;
}

static void finish(struct end *end)
{
    disconnect(end);
    tls_context_free(end->context);
    test_loop_end(&end->loop);
}

static unsigned char pattern(size_t at)
{
    return (unsigned char)(at * 13 + at / 777);
}

static void check_echo(struct end *end, size_t total)
{
    static unsigned char buffer[BULK];
    size_t length = 0;
    for (int quiet = 0; length < total && quiet < 50; quiet++) {
        int n = tls_peer_read(&end->peer, buffer + length, sizeof buffer - length);
        assert_true(n >= 0);
        length += (size_t)n;
        quiet = n > 0 ? 0 : quiet;
    }
    assert_int_equal(length, total);
    for (size_t i = 0; i < total; i++)
        if (buffer[i] != pattern(i))
            fail_msg("wrong byte at %zu", i);
}

static void bytes_come_through_however_they_are_cut(void **state)
{
    (void)state;
    static const struct {
        size_t split, total;
    } cases[] = {{1, 3000}, {5, 20000}, {1000, 100000}, {16384 + 29, 200000}, {0, BULK}};
    static unsigned char data[BULK];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = pattern(i);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct end *end = begin();
        end->echo = true;
        end->peer.split = cases[i].split;
        assert_true(tls_peer_handshake(&end->peer));
        tls_peer_write(&end->peer, data, cases[i].total);
        check_echo(end, cases[i].total);
        assert_int_equal(end->length, cases[i].total);
        assert_memory_equal(end->got, data, cases[i].total);
        assert_int_equal(end->ends, 0);
        SSL_shutdown(end->peer.ssl);
        tls_peer_exchange(&end->peer);
        assert_int_equal(end->ends, 1);
        assert_int_equal(end->end_status, 0);
        finish(end);
    }
}

static void many_small_slices_keep_their_order(void **state)
{
    (void)state;
    struct end *end = begin();
    assert_true(tls_peer_handshake(&end->peer));
    struct slices data;
    slices_init(&data);
    for (size_t at = 0; at < BULK;) {
        unsigned char part[40000];
        size_t length = at % 3 == 0 ? 7 : at % 3 == 1 ? 40000 : 16384;
        length = length < BULK - at ? length : BULK - at;
        for (size_t i = 0; i < length; i++)
            part[i] = pattern(at + i);
        slices_add_copy(&data, part, (uint32_t)length);
        at += length;
    }
    end->inside = true;
    stream_write(end->stream, &data);
    end->inside = false;
    assert_int_equal(data.length, 0);
    check_echo(end, BULK);
    finish(end);
}

static void what_is_written_early_waits_for_the_handshake(void **state)
{
    (void)state;
    struct end *end = begin();
    struct slices data;
    unsigned char byte[4];
    slices_init(&data);
    slices_add_copy(&data, "early", 5);
    stream_write(end->stream, &data);
    assert_int_equal(end->stream->unsent, 5);
    run(end, 5);
    assert_int_equal(recv(end->peer.fd, byte, sizeof byte, MSG_DONTWAIT), -1);
    assert_int_equal(end->drains, 0);
    assert_true(tls_peer_handshake(&end->peer));
    unsigned char text[10];
    assert_int_equal(tls_peer_read(&end->peer, text, sizeof text), 5);
    assert_memory_equal(text, "early", 5);
    assert_int_equal(end->drains, 1);
    finish(end);
}

/* As much of what the peer has to send as the socket takes. */
static void send_some(struct tls_peer *peer)
{
    char *data, skipped[4096];
    long length = BIO_get_mem_data(peer->out, &data);
    ssize_t n = length > 0 ? send(peer->fd, data, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    while (n > 0)
        n -= BIO_read(peer->out, skipped, n < (ssize_t)sizeof skipped ? (int)n : (int)sizeof skipped);
}

static void reading_goes_off_at_once(void **state)
{
    (void)state;
    struct end *end = begin();
    static unsigned char data[BULK];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = pattern(i);
    assert_true(tls_peer_handshake(&end->peer));
    assert_int_equal(SSL_write(end->peer.ssl, data, BULK), BULK);
    while (end->length < BULK) {
        size_t was = end->length;
        end->stop_after = was + 1;
        end->inside = true;
        stream_read(end->stream, true);
        end->inside = false;
        assert_int_equal(end->length, was);
        for (int i = 0; i < 10; i++) {
            send_some(&end->peer);
            run(end, 1);
        }
        assert_true(end->length > was);
        assert_true(end->length - was <= 16384); /* one record, then no more */
    }
    assert_memory_equal(end->got, data, BULK);
    finish(end);
}

static void an_end_without_close_notify_is_an_error(void **state)
{
    (void)state;
    for (int stage = 0; stage < 3; stage++) {
        struct end *end = begin();
        if (stage == 1) {
            assert_int_equal(SSL_connect(end->peer.ssl), -1);
            tls_peer_exchange(&end->peer);
        } else if (stage == 2) {
            assert_true(tls_peer_handshake(&end->peer));
            tls_peer_write(&end->peer, "x", 1);
        }
        close(end->peer.fd);
        end->peer.fd = -1;
        run(end, 8);
        assert_int_equal(end->ends, 1);
        assert_int_equal(end->end_status, -ECONNRESET);
        assert_string_not_equal(tls_stream_error(end->stream), "");
        finish(end);
    }
}

static void closing_says_so(void **state)
{
    (void)state;
    struct end *end = begin();
    unsigned char byte;
    assert_true(tls_peer_handshake(&end->peer));
    stream_close(end->stream);
    assert_int_equal(tls_peer_read(&end->peer, &byte, 1), -1);
    finish(end);
}

static void plain_text_and_noise_get_nothing(void **state)
{
    (void)state;
    static const char *const inputs[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\xff\xff garbage garbage",
                                         "\x80\x2e\x01\x00\x02"};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        struct end *end = begin();
        char input[64] = "";
        strcpy(input, inputs[i]);
        assert_true(send(end->peer.fd, input, sizeof input, MSG_NOSIGNAL) > 0);
        run(end, 8);
        assert_int_equal(end->length, 0);
        if (end->ends) {
            assert_int_equal(end->end_status, -EPROTO);
            assert_string_not_equal(tls_stream_error(end->stream), "");
        }
        finish(end);
    }
}

static void a_handshake_that_stalls_is_ended(void **state)
{
    (void)state;
    struct tls_options options = options_of(false, false);
    options.handshake_timeout_ms = 50;
    struct end *end = begin_with(&options);
    assert_int_equal(send(end->peer.fd, "\x16", 1, MSG_NOSIGNAL), 1);
    while (!end->ends)
        uv_run(&end->loop, UV_RUN_ONCE);
    assert_int_equal(end->end_status, -ETIMEDOUT);
    finish(end);
}

static bool handshake_with(int version, const char *ciphers)
{
    struct end *end = begin();
    SSL_set_security_level(end->peer.ssl, 0);
    SSL_set_min_proto_version(end->peer.ssl, version);
    SSL_set_max_proto_version(end->peer.ssl, version);
    if (ciphers)
        SSL_set_cipher_list(end->peer.ssl, ciphers);
    bool done = tls_peer_handshake(&end->peer);
    run(end, 5);
    assert_int_equal(end->ends, done ? 0 : 1);
    assert_int_equal(end->end_status, done ? 0 : -EPROTO);
    finish(end);
    return done;
}

static void only_what_is_safe_is_spoken(void **state)
{
    (void)state;
    assert_true(handshake_with(TLS1_3_VERSION, NULL));
    assert_true(handshake_with(TLS1_2_VERSION, NULL));
    assert_true(handshake_with(TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305"));
    assert_false(handshake_with(TLS1_1_VERSION, "ALL:@SECLEVEL=0"));
    assert_false(handshake_with(TLS1_VERSION, "ALL:@SECLEVEL=0"));
    assert_false(handshake_with(TLS1_2_VERSION, "AES128-GCM-SHA256"));         /* no forward secrecy */
    assert_false(handshake_with(TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256")); /* CBC */
    assert_false(handshake_with(TLS1_2_VERSION, "ECDHE-ECDSA-NULL-SHA:aNULL:@SECLEVEL=0"));
}

static void renegotiation_is_refused(void **state)
{
    (void)state;
    struct end *end = begin();
    SSL_set_max_proto_version(end->peer.ssl, TLS1_2_VERSION);
    assert_true(tls_peer_handshake(&end->peer));
    SSL_renegotiate(end->peer.ssl);
    SSL_do_handshake(end->peer.ssl);
    tls_peer_exchange(&end->peer);
    unsigned char byte;
    assert_int_equal(tls_peer_read(&end->peer, &byte, 1), -2); /* no_renegotiation */
    assert_int_equal(end->length, 0);
    finish(end);
}

/* A peer that asks for new keys again and again and reads no answer. */
static void a_flood_of_key_updates_is_ended(void **state)
{
    (void)state;
    struct end *end = begin();
    assert_true(tls_peer_handshake(&end->peer));
    for (int i = 0; i < 30000 && !end->ends && !end->peer.ended; i++) {
        char buffer[2000];
        int length;
        SSL_key_update(end->peer.ssl, SSL_KEY_UPDATE_REQUESTED);
        SSL_do_handshake(end->peer.ssl);
        while ((length = BIO_read(end->peer.out, buffer, sizeof buffer)) > 0)
            send(end->peer.fd, buffer, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
        uv_run(&end->loop, UV_RUN_NOWAIT);
    }
    run(end, 3);
    assert_int_equal(end->ends, 1);
    assert_int_equal(end->end_status, -EPROTO);
    finish(end);
}

static void alpn_is_http_1_1_or_nothing(void **state)
{
    (void)state;
    static const unsigned char both[] = "\x02h2\x08http/1.1", h2[] = "\x02h2";
    const unsigned char *chosen;
    unsigned length;
    struct end *end = begin();
    SSL_set_alpn_protos(end->peer.ssl, both, sizeof both - 1);
    assert_true(tls_peer_handshake(&end->peer));
    SSL_get0_alpn_selected(end->peer.ssl, &chosen, &length);
    assert_int_equal(length, 8);
    assert_memory_equal(chosen, "http/1.1", 8);
    finish(end);
    end = begin();
    SSL_set_alpn_protos(end->peer.ssl, h2, sizeof h2 - 1);
    assert_false(tls_peer_handshake(&end->peer));
    finish(end);
}

/* --- client certificates --- */

static void use_client(struct end *end, const struct tls_pair *signer, int days)
{
    struct tls_pair client = tls_pair_new("ada", signer, days);
    SSL_use_certificate(end->peer.ssl, client.certificate);
    SSL_use_PrivateKey(end->peer.ssl, client.key);
    tls_pair_free(&client);
}

static void client_certificates_are_checked(void **state)
{
    (void)state;
    for (int which = 0; which < 4; which++) {
        for (int required = 0; required < 2; required++) {
            struct tls_options options = options_of(true, required);
            struct end *end = begin_with(&options);
            bool good = which == 1 || (which == 0 && !required);
            if (which > 0)
                use_client(end, which == 2 ? &other_ca : &ca, which == 3 ? 0 : 1); /* 3: has expired, below */
            if (which == 3)
                X509_time_adj_ex(X509_getm_notAfter(SSL_get_certificate(end->peer.ssl)), -1, 0, NULL);
            bool done = tls_peer_handshake(&end->peer);
            if (done) { /* a TLS 1.3 client learns of a refusal later */
                SSL_write(end->peer.ssl, "x", 1);
                tls_peer_exchange(&end->peer);
            }
            assert_int_equal(end->length, good ? 1 : 0);
            assert_int_equal(end->ends, good ? 0 : 1);
            if (which == 1) {
                assert_string_equal(tls_stream_subject(end->stream), "CN=ada,O=Test\\, Inc.");
                assert_string_equal(tls_stream_common_name(end->stream), "ada");
            } else {
                assert_null(tls_stream_subject(end->stream));
                assert_null(tls_stream_common_name(end->stream));
            }
            finish(end);
        }
    }
}

static void a_resumed_session_keeps_its_client(void **state)
{
    (void)state;
    struct tls_options options = options_of(true, true);
    struct end *end = begin_with(&options);
    unsigned char byte;
    use_client(end, &ca, 1);
    assert_true(tls_peer_handshake(&end->peer));
    assert_int_equal(tls_peer_read(&end->peer, &byte, 1), 0); /* takes the ticket */
    SSL_SESSION *session = SSL_get1_session(end->peer.ssl);
    SSL_shutdown(end->peer.ssl); /* else OpenSSL drops the session */
    disconnect(end);
    end->ends = 0;
    connect_peer(end);
    SSL_set_session(end->peer.ssl, session);
    assert_true(tls_peer_handshake(&end->peer));
    tls_peer_write(&end->peer, "x", 1);
    assert_true(SSL_session_reused(end->peer.ssl));
    assert_string_equal(tls_stream_common_name(end->stream), "ada");
    SSL_SESSION_free(session);
    finish(end);
}

/* --- files --- */

static long serial_seen(struct end *end)
{
    connect_peer(end);
    assert_true(tls_peer_handshake(&end->peer));
    long hash = (long)X509_subject_name_hash(SSL_get0_peer_certificate(end->peer.ssl));
    disconnect(end);
    return hash;
}

static void a_reload_serves_the_new_certificate_or_changes_nothing(void **state)
{
    (void)state;
    struct end *end = begin();
    char error[300] = "";
    disconnect(end);
    long first = serial_seen(end);
    struct tls_pair fresh = tls_pair_new("another.example", NULL, 30);
    tls_pair_write(&fresh, certificate_path, client_key_path); /* the key does not match */
    assert_false(tls_context_reload(end->context, error, sizeof error));
    assert_non_null(strstr(error, "does not belong"));
    assert_int_equal(serial_seen(end), first);
    tls_pair_write(&fresh, certificate_path, key_path);
    assert_true(tls_context_reload(end->context, error, sizeof error));
    long second = serial_seen(end);
    assert_true(second != first);
    assert_true(llabs(tls_context_expires(end->context) - (time(NULL) + 30 * 86400L)) < 100);
    tls_pair_free(&fresh);
    tls_context_free(end->context);
    test_loop_end(&end->loop);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

static void check_error(const char *certificate, const char *key, const char *client_ca, const char *words)
{
    struct tls_options options = {.certificate = certificate, .key = key, .client_ca = client_ca};
    char error[300] = "";
    assert_null(tls_context_new(&options, error, sizeof error));
    if (!strstr(error, words))
        fail_msg("\"%s\" does not say \"%s\"", error, words);
}

static void what_is_wrong_with_the_files_is_said(void **state)
{
    (void)state;
    char encrypted[100], junk[100];
    snprintf(encrypted, sizeof encrypted, "%s/encrypted", folder);
    snprintf(junk, sizeof junk, "%s/junk", folder);
    write_text(junk, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    FILE *file = fopen(encrypted, "w");
    PEM_write_PKCS8PrivateKey(file, ca.key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL);
    fclose(file);
    check_error("/nonexistent/c", key_path, NULL, "/nonexistent/c: No such file");
    check_error(certificate_path, "/nonexistent/k", NULL, "/nonexistent/k: No such file");
    check_error(junk, key_path, NULL, "not a certificate");
    check_error(certificate_path, junk, NULL, "not a private key");
    check_error(certificate_path, encrypted, NULL, "pass phrase");
    check_error(certificate_path, client_key_path, NULL, "does not belong");
    check_error(certificate_path, key_path, "/nonexistent/a", "/nonexistent/a: No such file");
    check_error(certificate_path, key_path, junk, "authority");
    unlink(encrypted);
    unlink(junk);
}

static void check_self_signed(const char *certificate, const char *const *good, const char *bad)
{
    FILE *file = fopen(certificate, "r");
    X509 *x509 = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(x509);
    for (; *good; good++) {
        bool address = strchr(*good, ':') || strspn(*good, "0123456789.") == strlen(*good);
        assert_int_equal(address ? X509_check_ip_asc(x509, *good, 0) : X509_check_host(x509, *good, 0, 0, NULL), 1);
    }
    assert_int_equal(X509_check_host(x509, bad, 0, 0, NULL), 0);
    assert_int_equal(X509_check_purpose(x509, X509_PURPOSE_SSL_SERVER, 0), 1);
    assert_int_equal(X509_verify(x509, X509_get0_pubkey(x509)), 1);
    assert_true(X509_cmp_current_time(X509_get0_notBefore(x509)) < 0);
    X509_free(x509);
}

static time_t pretended; /* what time() says; 0: what it is */
static bool ticks;       /* it is another second at each look */

time_t time(time_t *to)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time_t said = pretended ? pretended : now.tv_sec;
    pretended += pretended && ticks;
    if (to)
        *to = said;
    return said;
}

/* Not X509_cmp_time(): to a library of 32 bits a time_t may be another thing than to us. */
static time_t time_of(const ASN1_TIME *text)
{
    struct tm tm;
    assert_int_equal(ASN1_TIME_to_tm(text, &tm), 1);
    return timegm(&tm);
}

/* A BMC without a battery makes it in 1970, and then its clock is set. */
static void one_made_before_the_clock_is_set_is_good_later(void **state)
{
    (void)state;
    if (sizeof(time_t) > sizeof(long))
        skip(); /* OpenSSL asks another clock than the one below */
    static const char *const names[] = {"bmc.example", NULL};
    char certificate[] = "/tmp/np-early-XXXXXX.pem", key[] = "/tmp/np-early-XXXXXX.key", error[256];
    close(mkstemps(certificate, 4));
    close(mkstemps(key, 4));
    pretended = 300;
    bool made = tls_make_self_signed(names, certificate, key, error, sizeof error);
    pretended = 0;
    assert_true(made);
    FILE *file = fopen(certificate, "re");
    X509 *x509 = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(x509);
    assert_true(time_of(X509_get0_notBefore(x509)) < 300);
    assert_true(time_of(X509_get0_notAfter(x509)) > time(NULL) + 86400LL * 365 * 10);
    X509_free(x509);
    unlink(certificate);
    unlink(key);
}

/* Else one would be made after the other. */
static void one_made_while_a_second_ends_is_right(void **state)
{
    (void)state;
    if (sizeof(time_t) > sizeof(long))
        skip(); /* as above */
    char certificate[100], key[100], error[256], why[TLS_DUE_MAX];
    snprintf(certificate, sizeof certificate, "%s/own", folder);
    snprintf(key, sizeof key, "%s/own-key", folder);
    pretended = 1900000000;
    ticks = true;
    bool made = tls_make_self_signed(NULL, certificate, key, error, sizeof error);
    ticks = false;
    struct tls_options options = {.certificate = certificate, .key = key};
    struct tls_context *context = made ? tls_context_new(&options, error, sizeof error) : NULL;
    if (context)
        tls_self_signed_due(context, why);
    pretended = 0;
    assert_non_null(context);
    assert_string_equal(why, "");
    tls_context_free(context);
    unlink(certificate);
    unlink(key);
}

static void a_self_signed_certificate_has_its_names(void **state)
{
    (void)state;
    static const char *const names[] = {"bmc.example", "192.0.2.7", "2001:db8::7", "bmc", NULL};
    static const char *const local[] = {"localhost", "127.0.0.1", NULL};
    static const char *const none[] = {NULL}, *const hostile[] = {"a,DNS:evil.example", NULL};
    char error[300], certificate[100], key[100];
    struct stat st;
    snprintf(certificate, sizeof certificate, "%s/own", folder);
    snprintf(key, sizeof key, "%s/own-key", folder);
    mode_t old = umask(0);
    assert_true(tls_make_self_signed(names, certificate, key, error, sizeof error));
    umask(old);
    assert_int_equal(stat(key, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    check_self_signed(certificate, names, "other.example");
    assert_true(tls_make_self_signed(NULL, certificate, key, error, sizeof error)); /* replaces both */
    check_self_signed(certificate, local, "bmc.example");
    struct tls_options options = {.certificate = certificate, .key = key};
    struct tls_context *context = tls_context_new(&options, error, sizeof error);
    assert_non_null(context);
    assert_true(tls_context_expires(context) > time(NULL) + 800 * 86400L);
    tls_context_free(context);
    assert_false(tls_make_self_signed(none, certificate, key, error, sizeof error));
    assert_false(tls_make_self_signed(hostile, certificate, key, error, sizeof error));
    assert_false(tls_make_self_signed(names, "/nonexistent/c", key, error, sizeof error));
    assert_non_null(strstr(error, "/nonexistent/c: No such file"));
    unlink(certificate);
    unlink(key);
}

static int setup(void **state)
{
    (void)state;
    static const char *const names[] = {"localhost", NULL};
    char error[300];
    strcpy(folder, "test_tls.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(certificate_path, sizeof certificate_path, "%s/certificate", folder);
    snprintf(key_path, sizeof key_path, "%s/key", folder);
    snprintf(ca_path, sizeof ca_path, "%s/ca", folder);
    snprintf(client_path, sizeof client_path, "%s/client", folder);
    snprintf(client_key_path, sizeof client_key_path, "%s/client-key", folder);
    ca = tls_pair_new("An Authority", NULL, 100);
    other_ca = tls_pair_new("An Authority", NULL, 100);
    tls_pair_write(&ca, ca_path, client_key_path);
    return tls_make_self_signed(names, certificate_path, key_path, error, sizeof error) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    const char *const paths[] = {certificate_path, key_path, ca_path, client_path, client_key_path};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        unlink(paths[i]);
    tls_pair_free(&ca);
    tls_pair_free(&other_ca);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_through_however_they_are_cut),
        cmocka_unit_test(many_small_slices_keep_their_order),
        cmocka_unit_test(what_is_written_early_waits_for_the_handshake),
        cmocka_unit_test(reading_goes_off_at_once),
        cmocka_unit_test(an_end_without_close_notify_is_an_error),
        cmocka_unit_test(closing_says_so),
        cmocka_unit_test(plain_text_and_noise_get_nothing),
        cmocka_unit_test(a_handshake_that_stalls_is_ended),
        cmocka_unit_test(only_what_is_safe_is_spoken),
        cmocka_unit_test(renegotiation_is_refused),
        cmocka_unit_test(a_flood_of_key_updates_is_ended),
        cmocka_unit_test(alpn_is_http_1_1_or_nothing),
        cmocka_unit_test(client_certificates_are_checked),
        cmocka_unit_test(a_resumed_session_keeps_its_client),
        cmocka_unit_test(what_is_wrong_with_the_files_is_said),
        cmocka_unit_test(a_self_signed_certificate_has_its_names),
        cmocka_unit_test(one_made_before_the_clock_is_set_is_good_later),
        cmocka_unit_test(one_made_while_a_second_ends_is_right),
        cmocka_unit_test(a_reload_serves_the_new_certificate_or_changes_nothing),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, setup, teardown);
}
