/* A TLS connection: see net/tls.h. Bytes go to and come from OpenSSL by memory BIOs. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/closing.h"
#include "base/defer.h"
#include "base/list.h"
#include "base/text.h"
#include "net/tls_internal.h"

#define RECORD_SIZE   SSL3_RT_MAX_PLAIN_LENGTH
#define BATCH_RECORDS 3 /* encrypted at a time: what the BIO grows to */
#define ERROR_SIZE    128

struct tls_stream {
    struct stream stream;
    struct stream *below;
    SSL *ssl;
    BIO *in, *out;         /* owned by `ssl` */
    struct slices pending; /* received and not given to `in`: at most one read of `below` */
    struct slices waiting; /* to be written when the handshake is done */
    uint64_t control;      /* bytes to send that nobody wrote, since `below` was last drained */
    bool reading;          /* as the owner wants it */
    bool established;      /* the handshake is done */
    bool broken;           /* OpenSSL must not be used any more */
    bool below_ended;
    int below_status;
    bool ended; /* on_end is due or was told */
    int end_status;
    bool end_told, drain_due;
    struct defer pump; /* goes on with what is here already */
    struct defer tell; /* on_end, on_drain */
    uv_timer_t timer;  /* the handshake's deadline */
    struct closing closing;
    char *subject, *common_name;
    char error[ERROR_SIZE];
};

static struct tls_stream *tls_of(struct stream *stream)
{
    return container_of(stream, struct tls_stream, stream);
}

/* --- the end --- */

static void tls_stream_end_later(struct tls_stream *t, int status, const char *words)
{
    if (t->ended)
        return;
    t->ended = true;
    t->end_status = status;
    if (status < 0)
        snprintf(t->error, sizeof t->error, "%s", words);
    uv_timer_stop(&t->timer);
    defer_schedule(t->stream.loop, &t->tell);
}

static void on_tls_stream_tell(struct defer *defer)
{
    struct tls_stream *t = container_of(defer, struct tls_stream, tell);
    if (t->stream.closing || t->end_told)
        return;
    if (t->drain_due) {
        t->drain_due = false;
        if (t->stream.unsent == 0 && t->stream.on_drain)
            t->stream.on_drain(&t->stream);
    }
    if (t->ended && !t->stream.closing) {
        t->end_told = true;
        t->stream.on_end(&t->stream, t->end_status);
    }
}

static void on_tls_stream_timeout(uv_timer_t *timer)
{
    tls_stream_end_later(container_of(timer, struct tls_stream, timer), -ETIMEDOUT, "the TLS handshake took too long");
}

static void tls_stream_fail(struct tls_stream *t)
{
    t->broken = true;
    tls_stream_end_later(t, -EPROTO, tls_words());
}

/* --- output --- */

static void take_output(struct tls_stream *t, struct slices *to)
{
    size_t length = BIO_ctrl_pending(t->out);
    if (length == 0)
        return;
    struct bytes *bytes = bytes_new((uint32_t)length);
    BIO_read(t->out, bytes->data, (int)length);
    slices_add(to, bytes, 0, bytes->length);
    bytes_unref(bytes);
}

/* Sends what OpenSSL writes by itself: handshake, alerts, key updates. */
static void flush_control(struct tls_stream *t)
{
    struct slices data;
    slices_init(&data);
    take_output(t, &data);
    t->control += data.length;
    stream_write(t->below, &data);
    if (t->below->unsent == 0)
        t->control = 0;
    else if (t->control > TLS_CONTROL_MAX)
        tls_stream_end_later(t, -EPROTO, "the peer does not read");
}

/* The next bytes of the list for one record: in place, or gathered. */
static size_t next_record(const struct slices *data, uint32_t *slice, uint32_t *offset, const void **from)
{
    static unsigned char gathered[RECORD_SIZE];
    const struct slice *first = &data->v[*slice];
    if (first->length - *offset >= RECORD_SIZE || *slice + 1 == data->count) {
        size_t part = first->length - *offset < RECORD_SIZE ? first->length - *offset : RECORD_SIZE;
        *from = slice_data(first) + *offset;
        *offset += (uint32_t)part;
        return part;
    }
    size_t length = 0;
    while (length < RECORD_SIZE && *slice < data->count) {
        const struct slice *s = &data->v[*slice];
        size_t part = s->length - *offset < RECORD_SIZE - length ? s->length - *offset : RECORD_SIZE - length;
        memcpy(gathered + length, slice_data(s) + *offset, part);
        length += part;
        *offset += (uint32_t)part;
        if (*offset < s->length)
            break;
        (*slice)++;
        *offset = 0;
    }
    *from = gathered;
    return length;
}

static void encrypt(struct tls_stream *t, struct slices *data)
{
    struct slices out;
    uint32_t slice = 0, offset = 0;
    slices_init(&out);
    ERR_clear_error();
    for (unsigned records = 1; slice < data->count; records++) {
        const void *from;
        size_t length = next_record(data, &slice, &offset, &from), written;
        if (slice < data->count && offset == data->v[slice].length) {
            slice++;
            offset = 0;
        }
        if (SSL_write_ex(t->ssl, from, length, &written) != 1) { /* a memory BIO takes everything */
            tls_stream_fail(t);
            break;
        }
        if (records % BATCH_RECORDS == 0)
            take_output(t, &out);
    }
    take_output(t, &out);
    slices_clear(data);
    stream_write(t->below, &out);
    t->stream.unsent = t->below->unsent;
}

static void tls_write(struct stream *stream, struct slices *data)
{
    struct tls_stream *t = tls_of(stream);
    if (t->broken || (t->ended && t->end_status < 0)) {
        slices_clear(data);
    } else if (!t->established) {
        stream->unsent += data->length;
        slices_take(&t->waiting, data);
    } else {
        encrypt(t, data);
    }
}

static void on_tls_stream_below_drain(struct stream *below)
{
    struct tls_stream *t = below->owner;
    t->control = 0;
    if (t->stream.unsent == 0 || !t->established)
        return;
    t->stream.unsent = 0;
    t->drain_due = true;
    defer_schedule(t->stream.loop, &t->tell);
}

/* --- input --- */

static char *common_name_of(const X509_NAME *name)
{
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    unsigned char *utf8 = NULL;
    int length = at < 0 ? -1 : ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    char *text = length > 0 && strlen((char *)utf8) == (size_t)length ? mem_strdup((char *)utf8) : NULL;
    OPENSSL_free(utf8);
    return text;
}

static void take_client_names(struct tls_stream *t)
{
    X509 *certificate = SSL_get0_peer_certificate(t->ssl);
    if (!certificate || SSL_get_verify_result(t->ssl) != X509_V_OK)
        return;
    const X509_NAME *name = X509_get_subject_name(certificate);
    BIO *text = BIO_new(BIO_s_mem());
    if (text && X509_NAME_print_ex(text, name, 0, XN_FLAG_RFC2253) >= 0 && BIO_write(text, "", 1) == 1) {
        char *subject;
        BIO_get_mem_data(text, &subject);
        t->subject = mem_strdup(subject);
    }
    BIO_free(text);
    t->common_name = common_name_of(name);
}

static void handshake(struct tls_stream *t)
{
    int status = SSL_do_handshake(t->ssl);
    if (status == 1) {
        t->established = true;
        uv_timer_stop(&t->timer);
        if (SSL_is_server(t->ssl))
            take_client_names(t);
    } else if (SSL_get_error(t->ssl, status) != SSL_ERROR_WANT_READ) {
        tls_stream_fail(t);
    }
    flush_control(t); /* an alert too */
    if (t->established && t->waiting.length > 0) {
        encrypt(t, &t->waiting);
        t->drain_due = t->stream.unsent == 0;
        defer_schedule(t->stream.loop, &t->tell);
    }
}

static void decrypt(struct tls_stream *t)
{
    static unsigned char plain[RECORD_SIZE];
    while (t->reading && !t->ended && !t->stream.closing) {
        ERR_clear_error();
        int n = SSL_read(t->ssl, plain, sizeof plain);
        if (n > 0) {
            t->stream.on_data(&t->stream, plain, (size_t)n);
            continue;
        }
        int error = SSL_get_error(t->ssl, n);
        if (error == SSL_ERROR_ZERO_RETURN)
            tls_stream_end_later(t, 0, "");
        else if (error != SSL_ERROR_WANT_READ)
            tls_stream_fail(t);
        break;
    }
}

/* Goes on as far as the bytes in `in` allow. */
static void advance(struct tls_stream *t)
{
    ERR_clear_error();
    if (!t->established && !t->ended)
        handshake(t);
    if (t->established && !t->ended) {
        decrypt(t);
        if (!t->stream.closing)
            flush_control(t);
    }
}

static bool tls_stream_wants_input(const struct tls_stream *t)
{
    return !t->ended && !t->stream.closing && (!t->established || t->reading);
}

static size_t tls_stream_input(struct tls_stream *t, const uint8_t *data, size_t length)
{
    size_t done = 0;
    while (done < length && tls_stream_wants_input(t)) {
        size_t part = length - done < RECORD_SIZE ? length - done : RECORD_SIZE;
        if (BIO_write(t->in, data + done, (int)part) != (int)part)
            mem_exhausted();
        done += part;
        advance(t);
    }
    return done;
}

static void tls_stream_set_reading_below(struct tls_stream *t)
{
    if (!t->stream.closing)
        stream_read(t->below, tls_stream_wants_input(t) && t->pending.count == 0 && !t->below_ended);
}

static void on_tls_stream_below_data(struct stream *below, const uint8_t *data, size_t length)
{
    struct tls_stream *t = below->owner;
    size_t done = tls_stream_input(t, data, length);
    if (t->stream.closing)
        return;
    if (done < length && !t->ended)
        slices_add_copy(&t->pending, data + done, (uint32_t)(length - done));
    tls_stream_set_reading_below(t);
}

static void tls_stream_input_pending(struct tls_stream *t)
{
    while (t->pending.count > 0 && tls_stream_wants_input(t)) {
        struct slice *first = &t->pending.v[0];
        size_t done = tls_stream_input(t, slice_data(first), first->length);
        if (done == first->length) {
            slices_clear(&t->pending); /* there is never more than one */
            return;
        }
        first->offset += (uint32_t)done;
        first->length -= (uint32_t)done;
        t->pending.length -= done;
    }
}

/* The stream below has ended: an end without close_notify is a cut. */
static void check_cut(struct tls_stream *t)
{
    if (!t->below_ended || !tls_stream_wants_input(t))
        return;
    t->broken = true;
    if (t->below_status == 0)
        tls_stream_end_later(t, -ECONNRESET, "the connection was cut (no close_notify)");
    else
        tls_stream_end_later(t, t->below_status, uv_strerror(t->below_status));
}

static void on_tls_stream_pump(struct defer *defer)
{
    struct tls_stream *t = container_of(defer, struct tls_stream, pump);
    if (!tls_stream_wants_input(t))
        return;
    advance(t);
    tls_stream_input_pending(t);
    check_cut(t);
    tls_stream_set_reading_below(t);
}

static void on_tls_stream_below_end(struct stream *below, int status)
{
    struct tls_stream *t = below->owner;
    t->below_ended = true;
    t->below_status = status;
    defer_schedule(t->stream.loop, &t->pump);
    if (status < 0 && !tls_stream_wants_input(t)) { /* a write failed */
        t->broken = true;
        tls_stream_end_later(t, status, uv_strerror(status));
    }
}

static void tls_read(struct stream *stream, bool on)
{
    struct tls_stream *t = tls_of(stream);
    t->reading = on;
    if (on)
        defer_schedule(stream->loop, &t->pump);
    tls_stream_set_reading_below(t);
}

/* --- life --- */

static void on_tls_stream_closed(struct closing *closing)
{
    struct tls_stream *t = container_of(closing, struct tls_stream, closing);
    t->stream.on_closed(&t->stream);
}

static void on_tls_stream_below_closed(struct stream *below)
{
    struct tls_stream *t = below->owner;
    closing_begin(&t->closing, below->loop, on_tls_stream_closed);
    closing_add(&t->closing, (uv_handle_t *)&t->timer);
    closing_end(&t->closing);
}

static void tls_close(struct stream *stream)
{
    struct tls_stream *t = tls_of(stream);
    defer_cancel(&t->pump);
    defer_cancel(&t->tell);
    slices_clear(&t->waiting);
    if (t->established && !t->broken) {
        struct slices data;
        ERR_clear_error();
        SSL_shutdown(t->ssl);
        slices_init(&data);
        take_output(t, &data);
        stream_write(t->below, &data);
        ERR_clear_error();
    }
    uv_timer_stop(&t->timer);
    stream_close(t->below);
}

static void tls_free(struct stream *stream)
{
    struct tls_stream *t = tls_of(stream);
    slices_clear(&t->pending);
    SSL_free(t->ssl);
    stream_free(t->below);
    mem_free(t->subject);
    mem_free(t->common_name);
    mem_free(t);
}

static const struct stream_ops tls_ops = {tls_read, tls_write, tls_close, tls_free};

struct stream *tls_stream_on(SSL *ssl, struct stream *below, uint64_t timeout_ms)
{
    struct tls_stream *t = mem_alloc(sizeof *t);
    t->stream.ops = &tls_ops;
    t->stream.loop = below->loop;
    t->below = below;
    t->ssl = ssl;
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    if (!t->in || !t->out)
        mem_exhausted();
    SSL_set_bio(t->ssl, t->in, t->out);
    slices_init(&t->pending);
    slices_init(&t->waiting);
    defer_setup(&t->pump, on_tls_stream_pump);
    defer_setup(&t->tell, on_tls_stream_tell);
    uv_timer_init(below->loop, &t->timer);
    uv_timer_start(&t->timer, on_tls_stream_timeout, timeout_ms, 0);
    below->owner = t;
    below->on_data = on_tls_stream_below_data;
    below->on_end = on_tls_stream_below_end;
    below->on_drain = on_tls_stream_below_drain;
    below->on_closed = on_tls_stream_below_closed;
    stream_read(below, true);
    if (!SSL_is_server(ssl))
        defer_schedule(below->loop, &t->pump); /* a client speaks first */
    return &t->stream;
}

struct stream *tls_stream_new(struct tls_context *context, struct stream *below)
{
    SSL *ssl = tls_context_connection(context);
    SSL_set_accept_state(ssl);
    return tls_stream_on(ssl, below, tls_context_timeout(context));
}

SSL *tls_stream_ssl(struct stream *stream)
{
    return tls_of(stream)->ssl;
}

const char *tls_stream_subject(struct stream *stream)
{
    return tls_of(stream)->subject;
}

const char *tls_stream_common_name(struct stream *stream)
{
    return tls_of(stream)->common_name;
}

const char *tls_stream_error(struct stream *stream)
{
    return tls_of(stream)->error;
}
