/* The connections of a browser source: opening, checking one that came back, hanging up. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "source/browser_internal.h"

#define SECTOR 512

/* --- the end --- */

static void peer_free(struct browser_peer *peer)
{
    struct browser_source *browser = peer->browser;
    struct browser_connection connection = peer->connection;
    list_remove(&peer->link);
    mem_free(peer->checks);
    mem_free(peer->claim);
    mem_free(peer);
    if (connection.gone)
        connection.gone(connection.arg);
    if (browser)
        browser_peer_gone(browser);
}

static void browser_peer_hang_up(struct browser_peer *peer, struct stream *stream)
{
    if (peer->connection.hang_up)
        peer->connection.hang_up(stream, peer->end, peer->reason, peer->connection.arg);
    stream_close(stream); /* nothing happens if it was closed */
}

static void on_hang_up(void *owner, struct stream *stream, int status, const char *error)
{
    (void)status; /* browser_peer_drop() was told the status */
    (void)error;
    browser_peer_hang_up(owner, stream);
}

static void on_browser_peer_client_closed(struct nbd_client *client)
{
    struct browser_peer *peer = nbd_client_owner(client);
    nbd_client_free(client);
    peer_free(peer);
}

void browser_peer_drop(struct browser_peer *peer, enum browser_end end, const char *reason)
{
    struct browser_source *browser = peer->browser;
    peer->end = end;
    snprintf(peer->reason, sizeof peer->reason, "%s", reason);
    if (browser && browser->peer == peer) {
        browser->peer = NULL;
        browser->online = false;
        uv_timer_stop(&browser->check);
    }
    if (peer->client)
        nbd_client_close(peer->client);
    else
        browser_peer_hang_up(peer, peer->connection.stream);
}

void browser_peer_release(struct browser_peer *peer, enum browser_end end, const char *reason)
{
    list_remove(&peer->link);
    peer->browser = NULL;
    browser_peer_drop(peer, end, reason);
}

static enum browser_end end_for(int status)
{
    return status == -EPROTO ? BROWSER_PROTOCOL : BROWSER_FAILED;
}

static enum browser_end end_for_handshake(int status)
{
    if (status == -EINVAL) /* the server told an impossible size */
        return BROWSER_REFUSED;
    return status == -ETIMEDOUT ? BROWSER_PROTOCOL : end_for(status);
}

/* --- is it the image? --- */

static void browser_peer_refuse(struct browser_peer *peer, enum browser_end end, const char *reason)
{
    struct browser_source *browser = peer->browser;
    bool over = peer->connection.last_word && end == BROWSER_REFUSED;
    source_set_error(&browser->source, "a browser that came back is refused: %s", reason);
    log_warning(browser->source.who, "browser: %s", browser->source.error);
    browser_peer_drop(peer, end, reason);
    if (over)
        browser_ended_by_user(browser, "has come with another file");
    else
        browser_not_back(browser);
}

static void on_check_read(struct io *io)
{
    struct browser_check *check = container_of(io, struct browser_check, io);
    struct browser_peer *peer = check->peer;
    struct browser_source *browser = peer->browser;
    bool same = io->status == 0 && browser_sample_matches(&check->sample, &io->data);
    slices_clear(&io->data);
    if (browser->peer != peer)
        return; /* dropped meanwhile */
    peer->unchecked--;
    if (io->status != 0) {
        browser_peer_refuse(peer, BROWSER_FAILED, "what was read of the file before can't be read again");
    } else if (!same) {
        browser_peer_refuse(peer, BROWSER_REFUSED, "this is not the file that was inserted");
    } else if (peer->unchecked == 0) {
        uv_timer_stop(&browser->check);
        browser_came_back(browser);
    }
}

static void browser_peer_check_timeout(uv_timer_t *timer)
{
    struct browser_source *browser = container_of(timer, struct browser_source, check);
    if (browser->peer)
        browser_peer_refuse(browser->peer, BROWSER_FAILED,
                            "what was read of the file before can't be read again in time");
}

/* What makes it another image at first sight; NULL: nothing. */
static const char *difference(const struct browser_source *browser, const struct nbd_client_facts *facts)
{
    const struct source *source = &browser->source;
    if (facts->size != source->size)
        return "this is not the file that was inserted: its size differs";
    if (source->read_only)
        return NULL;
    if (browser_peer_read_only(browser->peer))
        return "the file can't be written any more";
    if (facts->can_flush < source->can_flush || facts->can_trim < source->can_trim ||
        facts->can_zero < source->can_zero)
        return "its server can do less than before";
    return NULL;
}

static void check_begin(struct browser_peer *peer)
{
    struct browser_source *browser = peer->browser;
    const struct browser_samples *samples = &browser->samples;
    const char *reason = difference(browser, nbd_client_facts(peer->client));
    if (reason) {
        browser_peer_refuse(peer, BROWSER_REFUSED, reason);
        return;
    }
    if (samples->count == 0) {
        browser_came_back(browser);
        return;
    }
    peer->checks = mem_alloc(samples->count * sizeof *peer->checks);
    peer->unchecked = samples->count;
    for (unsigned i = 0; i < samples->count; i++) {
        struct browser_check *check = &peer->checks[i];
        check->peer = peer;
        check->sample = samples->v[i];
        io_init(&check->io, IO_READ, check->sample.offset, check->sample.length, on_check_read);
        nbd_client_submit(peer->client, &check->io);
    }
    uv_timer_start(&browser->check, browser_peer_check_timeout, BROWSER_CHECK_MS, 0);
}

/* --- the client's callbacks --- */

static void on_browser_peer_ready(struct nbd_client *client, int status)
{
    struct browser_peer *peer = nbd_client_owner(client);
    struct browser_source *browser = peer->browser;
    bool opening = browser->source.state == SOURCE_OPENING;
    if (status == 0 && peer->connection.ready)
        peer->connection.ready(peer->connection.arg);
    if (status == 0 && opening) {
        browser_opened(browser, 0);
    } else if (status == 0) {
        check_begin(peer);
    } else if (opening) {
        source_set_error(&browser->source, "%s", nbd_client_error(client));
        browser_peer_drop(peer, end_for_handshake(status), nbd_client_error(client));
        browser_opened(browser, status);
    } else {
        browser_peer_refuse(peer, end_for_handshake(status), nbd_client_error(client));
    }
}

/* What was given up here was not left. */
static enum browser_leave how_left(const struct browser_connection *connection, int status)
{
    bool ours = status == -EPROTO || status == -ETIMEDOUT;
    return ours || !connection->left ? BROWSER_CUT : connection->left(connection->stream);
}

static void on_browser_peer_died(struct nbd_client *client, int status)
{
    struct browser_peer *peer = nbd_client_owner(client);
    struct browser_source *browser = peer->browser;
    enum browser_leave leave = how_left(&peer->connection, status);
    if (!browser->online) {
        browser_peer_refuse(peer, end_for(status), nbd_client_error(client));
        return;
    }
    browser->left = leave == BROWSER_LEFT;
    source_set_error(&browser->source, "%s", browser->left ? "" : nbd_client_error(client));
    browser_take_back(browser, client);
    browser_peer_drop(peer, end_for(status), nbd_client_error(client));
    if (leave == BROWSER_STOPPED)
        browser_ended_by_user(browser, "ended it");
    else
        browser_lost(browser);
}

/* See the header: webui-vue's builds that write the lower half twice. No real image has
 * such a size: it would have to be larger than 2 TiB. */
static uint64_t understand_size(uint64_t told)
{
    uint32_t low = (uint32_t)told;
    return told >> 32 == low && low >= SECTOR && told != UINT64_MAX ? low : told;
}

void browser_peer_open(struct browser_peer *peer)
{
    struct browser_source *browser = peer->browser;
    const struct nbd_client_callbacks callbacks = {.owner = peer,
                                                   .ready = on_browser_peer_ready,
                                                   .died = on_browser_peer_died,
                                                   .closed = on_browser_peer_client_closed,
                                                   .hang_up = on_hang_up};
    uint32_t most = browser->options.request_max, passes = peer->connection.request_max;
    const struct nbd_client_options options = {.who = browser->source.who,
                                               .go = peer->connection.go,
                                               .request_max = passes && passes < most ? passes : most,
                                               .requests_max = browser->options.requests_max,
                                               .bytes_max = browser->options.bytes_max,
                                               .answers_max = peer->connection.answers_max,
                                               .quiet = peer->connection.quiet,
                                               .silence_ms = BROWSER_SILENCE * browser->options.io_timeout_ms,
                                               .understand_size = understand_size,
                                               .link = &browser->link};
    peer->client = nbd_client_new(peer->connection.stream, &options, &callbacks);
}

/* --- a stream without a client --- */

static void on_early_data(struct stream *stream, const uint8_t *data, size_t length)
{
    (void)stream, (void)data, (void)length;
}

static void on_early_end(struct stream *stream, int status)
{
    struct browser_peer *peer = stream->owner;
    (void)status;
    peer->ended = true;
}

static void on_early_closed(struct stream *stream)
{
    struct browser_peer *peer = stream->owner;
    stream_free(stream);
    peer_free(peer);
}

struct browser_peer *browser_peer_new(struct browser_source *browser, const struct browser_connection *connection)
{
    struct browser_peer *peer = mem_alloc(sizeof *peer);
    struct stream *stream = connection->stream;
    const char *claim = connection->claim ? connection->claim : "";
    size_t length = strnlen(claim, BROWSER_CLAIM_MAX);
    peer->browser = browser;
    peer->connection = *connection;
    peer->claim = mem_alloc(length + 1);
    memcpy(peer->claim, claim, length);
    peer->connection.claim = peer->claim;
    list_init(&peer->link);
    if (browser)
        list_append(&browser->peers, &peer->link);
    stream->owner = peer;
    stream->on_data = on_early_data;
    stream->on_end = on_early_end;
    stream->on_drain = NULL;
    stream->on_closed = on_early_closed;
    return peer;
}
