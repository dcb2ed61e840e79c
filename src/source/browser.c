#include "source/browser.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "source/browser_internal.h"

#define BLOCK_DEFAULT (64u << 10) /* what one request should ask for at least */
#define BLOCK_MIN     4096u
#define BLOCK_MAX     (1u << 20)

/* --- connections come and go --- */

static void go_online(struct browser_source *browser)
{
    const struct nbd_client_facts *facts = nbd_client_facts(browser->peer->client);
    browser->online = true;
    browser->given_up = browser->grace_over = browser->failing = browser->unsampled = browser->left = false;
    browser->can_fua = facts->can_fua;
    if (!*browser->claim)
        snprintf(browser->claim, sizeof browser->claim, "%s", browser->peer->claim);
    browser_learn_link(browser);
}

static uint32_t block_for(uint32_t preferred)
{
    if (preferred == 0)
        return BLOCK_DEFAULT;
    return preferred < BLOCK_MIN ? BLOCK_MIN : preferred > BLOCK_MAX ? BLOCK_MAX : preferred;
}

static void adopt_facts(struct browser_source *browser, const struct nbd_client_facts *facts)
{
    static uint64_t number;
    struct source *source = &browser->source;
    if (facts->size != facts->size_told)
        log_warning(source->who,
                    "browser: the page says %" PRIu64 " bytes, which is a fault of webui-vue (2025-11 to 2026-01); "
                    "taken as %" PRIu64 ", which is wrong from 4 GiB on: update webui-vue",
                    facts->size_told, facts->size);
    source->size = facts->size;
    source->block_preferred = block_for(facts->block_preferred);
    source->read_only = !browser->options.writable || browser_peer_read_only(browser->peer);
    source->can_flush = !source->read_only && facts->can_flush;
    source->can_trim = !source->read_only && facts->can_trim;
    source->can_zero = !source->read_only && facts->can_zero;
    source->parallel = browser->options.requests_max;
    snprintf(source->identity, sizeof source->identity, "browser %" PRIu64 " %" PRIu64, uv_hrtime(), ++number);
}

void browser_opened(struct browser_source *browser, int status)
{
    if (status == 0) {
        adopt_facts(browser, nbd_client_facts(browser->peer->client));
        go_online(browser);
    } else {
        browser->source.stats.errors++;
    }
    source_report_opened(&browser->source, status);
}

void browser_came_back(struct browser_source *browser)
{
    uv_timer_stop(&browser->grace);
    go_online(browser);
    *browser->source.error = '\0'; /* the error said that the connection was lost */
    log_notice(browser->source.who, "browser: it is back, with the same image");
    list_for_each (l, &browser->ios) {
        struct browser_io *w = container_of(l, struct browser_io, link);
        if (!w->sent)
            browser_io_send(w);
    }
}

/* Status 0: its user wanted it so. */
static void browser_die(struct browser_source *browser, int status)
{
    struct source *source = &browser->source;
    browser->dead = true;
    uv_timer_stop(&browser->grace);
    log_line(status == 0 ? LOG_LEVEL_NOTICE : LOG_LEVEL_ERROR, source->who, "browser: %s", source->error);
    browser_fail_ios(browser, false, -ENOTCONN);
    if (source->died)
        source->died(source, status);
}

static void give_up(struct browser_source *browser)
{
    char grace[TEXT_SIZE_MAX];
    browser_in_words(browser->options.grace_ms, grace);
    source_set_error(&browser->source, "the browser did not come back within %s", grace);
    browser->grace_over = false;
    if (!browser->options.stay) {
        browser_die(browser, browser->left ? 0 : -ENOTCONN);
        return;
    }
    browser->given_up = true;
    log_warning(browser->source.who, "browser: %s; reads fail until it does", browser->source.error);
    browser_fail_ios(browser, false, -EIO);
}

static void on_grace(uv_timer_t *timer)
{
    struct browser_source *browser = container_of(timer, struct browser_source, grace);
    if (browser->peer)
        browser->grace_over = true; /* a connection is being checked, which ends in a bounded time */
    else
        give_up(browser);
}

void browser_not_back(struct browser_source *browser)
{
    if (browser->grace_over)
        give_up(browser);
}

void browser_lost(struct browser_source *browser)
{
    char grace[TEXT_SIZE_MAX];
    browser_in_words(browser->options.grace_ms, grace);
    if (browser->left)
        log_notice(browser->source.who, "browser: its page was left; waiting %s for it to come back", grace);
    else
        log_warning(browser->source.who, "browser: %s; waiting %s for it to come back", browser->source.error, grace);
    browser_fail_ios(browser, true, -EAGAIN);
    uv_timer_start(&browser->grace, on_grace, browser->options.grace_ms, 0);
}

void browser_ended_by_user(struct browser_source *browser, const char *how)
{
    source_set_error(&browser->source, "the browser's user %s", how);
    browser_die(browser, 0);
}

void browser_deceived(struct browser_source *browser)
{
    source_set_error(&browser->source, "a block was read twice, and its bytes differed: what stands between the browser and "
                                       "us mixes them up, or the file changes");
    browser_take_back(browser, browser->peer->client);
    browser_peer_drop(browser->peer, BROWSER_FAILED, browser->source.error);
    browser_die(browser, -EIO);
}

static bool claims_fit(const struct browser_source *browser, const char *claim)
{
    return !claim || !*claim || !*browser->claim || strncmp(claim, browser->claim, BROWSER_CLAIM_MAX) == 0;
}

static bool is_vacant(const struct browser_source *browser)
{
    return browser->source.state == SOURCE_OPEN && !browser->peer && !browser->dead;
}

bool browser_source_awaits(const struct source *source, const char *claim)
{
    const struct browser_source *browser = container_of(source, const struct browser_source, source);
    return is_vacant(browser) && claims_fit(browser, claim);
}

void browser_source_connect(struct source *source, const struct browser_connection *connection)
{
    struct browser_source *browser = browser_of(source);
    const char *reason = browser->peer                             ? "there is another connection"
                         : !is_vacant(browser)                     ? "the medium is being ejected"
                         : !claims_fit(browser, connection->claim) ? "this is not the file that was inserted"
                                                                   : NULL;
    if (reason) {
        log_warning(source->who, "browser: a connection is refused: %s", reason);
        browser_peer_release(browser_peer_new(NULL, connection), BROWSER_REFUSED, reason);
        return;
    }
    browser->peer = browser_peer_new(browser, connection);
    browser_peer_open(browser->peer);
}

bool browser_source_is_waiting(const struct source *source)
{
    const struct browser_source *browser = container_of(source, const struct browser_source, source);
    return source->state == SOURCE_OPEN && !browser->online && !browser->dead;
}

bool browser_source_is_missed(const struct source *source)
{
    const struct browser_source *browser = container_of(source, const struct browser_source, source);
    return browser_source_is_waiting(source) && (!browser->left || browser->given_up);
}

bool browser_source_has(const struct source *source, const void *arg)
{
    const struct browser_source *browser = container_of(source, const struct browser_source, source);
    return browser->peer && browser->peer->connection.arg == arg;
}

void browser_source_set_end(struct source *source, enum browser_end end, const char *reason)
{
    struct browser_source *browser = browser_of(source);
    browser->end = end;
    snprintf(browser->reason, sizeof browser->reason, "%s", reason);
}

/* --- life --- */

static void browser_open(struct source *source)
{
    struct browser_source *browser = browser_of(source);
    uv_timer_init(source->loop, &browser->grace);
    uv_timer_init(source->loop, &browser->deadline);
    uv_timer_init(source->loop, &browser->check);
    if (!browser->peer->ended) {
        browser_peer_open(browser->peer);
        return;
    }
    source_set_error(source, "the browser closed the connection before it was used");
    browser_peer_drop(browser->peer, BROWSER_FAILED, source->error);
    source_report_opened_later(source, -ECONNRESET);
}

/* Deferred, so that it comes after the ios that were ended before. */
static void browser_maybe_closed(struct browser_source *browser)
{
    if (browser->source.state == SOURCE_CLOSING && browser->handles_closed && list_empty(&browser->peers))
        source_report_closed(&browser->source);
}

void browser_peer_gone(struct browser_source *browser)
{
    browser_maybe_closed(browser);
}

static void on_browser_handles_closed(struct closing *closing)
{
    struct browser_source *browser = container_of(closing, struct browser_source, closing);
    browser->handles_closed = true;
    browser_maybe_closed(browser);
}

static void browser_close(struct source *source)
{
    struct browser_source *browser = browser_of(source);
    list_for_each (l, &browser->ios) {
        struct browser_io *w = container_of(l, struct browser_io, link);
        if (w->sent)
            list_remove(&w->link); /* the client ends the io */
        else
            browser_io_give_up(w, -ECANCELED);
    }
    if (browser->peer)
        browser_peer_drop(browser->peer, browser->end, browser->reason);
    closing_begin(&browser->closing, source->loop, on_browser_handles_closed);
    closing_add(&browser->closing, (uv_handle_t *)&browser->grace);
    closing_add(&browser->closing, (uv_handle_t *)&browser->deadline);
    closing_add(&browser->closing, (uv_handle_t *)&browser->check);
    closing_end(&browser->closing);
}

static void browser_free(struct source *source)
{
    struct browser_source *browser = browser_of(source);
    if (browser->peer) /* the peer was never opened */
        browser_peer_release(browser->peer, browser->end, browser->reason);
    mem_free(browser);
}

struct source *browser_source_new(uv_loop_t *loop, const char *who, const struct browser_options *options,
                                  const struct browser_connection *connection)
{
    static const struct source_ops ops = {"browser", browser_open, browser_submit, browser_close, browser_free, NULL};
    struct browser_source *browser = mem_alloc(sizeof *browser);
    source_init(&browser->source, &ops, loop, who);
    browser->options = *options;
    list_init(&browser->peers);
    list_init(&browser->ios);
    browser->end = BROWSER_EJECTED;
    snprintf(browser->reason, sizeof browser->reason, "the medium was ejected");
    browser->peer = browser_peer_new(browser, connection);
    snprintf(browser->claim, sizeof browser->claim, "%s", browser->peer->claim);
    return &browser->source;
}
