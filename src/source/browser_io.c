/* The ios of a browser source: on their way to the client and back, and their deadlines. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/jitter.h"
#include "base/log.h"
#include "base/text.h"
#include "source/browser_internal.h"

void browser_in_words(uint64_t ms, char out[TEXT_SIZE_MAX])
{
    if (ms % 1000 == 0)
        snprintf(out, TEXT_SIZE_MAX, "%" PRIu64 " s", ms / 1000);
    else
        snprintf(out, TEXT_SIZE_MAX, "%" PRIu64 " ms", ms);
}

static void on_lower_done(struct io *io);

static bool browser_io_op_changes(enum io_op op)
{
    return op == IO_WRITE || op == IO_TRIM || op == IO_ZERO;
}

void browser_io_send(struct browser_io *w)
{
    struct browser_source *browser = w->browser;
    struct io *upper = w->upper;
    if (w->flushing)
        io_init(&w->lower, IO_FLUSH, 0, 0, on_lower_done);
    else if (w->doubted)
        io_init(&w->lower, IO_READ, w->part.offset, w->part.length, on_lower_done);
    else
        io_init(&w->lower, upper->op, upper->offset, upper->length, on_lower_done);
    w->lower.flags = upper->flags;
    if (w->lower.op == IO_WRITE)
        slices_add_part(&w->lower.data, &upper->data, 0, upper->length);
    w->sent = true;
    w->sent_us = uv_hrtime() / 1000;
    browser->source.stats.requests++;
    nbd_client_submit(browser->peer->client, &w->lower);
}

static void io_free(struct browser_io *w)
{
    list_remove(&w->link);
    mem_free(w);
}

/* The io waits for a connection, and gets none. */
void browser_io_give_up(struct browser_io *w, int status)
{
    struct io *upper = w->upper;
    struct browser_source *browser = w->browser;
    browser->source.stats.errors += status != -ECANCELED && status != -EAGAIN;
    io_free(w);
    io_finish_later(browser->source.loop, upper, status);
}

/* Leaves out ios whose end is on its way already. */
void browser_fail_ios(struct browser_source *browser, bool prefetch_only, int status)
{
    list_for_each (l, &browser->ios) {
        struct browser_io *w = container_of(l, struct browser_io, link);
        if (w->sent)
            continue;
        if (!prefetch_only || w->upper->flags & IO_PREFETCH)
            browser_io_give_up(w, status);
    }
}

static void note_failure(struct browser_source *browser)
{
    browser->source.stats.errors++;
    if (!browser->failing)
        log_warning(browser->source.who, "browser: %s", browser->source.error);
    browser->failing = true;
}

void browser_learn_link(struct browser_source *browser)
{
    browser->source.stats.rtt_us = browser->link.rtt_us;
    browser->source.stats.quiet_rtt_us = link_quiet_round_trip(&browser->link);
    browser->source.stats.bandwidth = link_bandwidth(&browser->link);
}

static void io_succeeded(struct browser_io *w)
{
    struct browser_source *browser = w->browser;
    browser->failing = false;
    if (w->upper->op != IO_READ)
        return;
    browser->source.stats.bytes += w->upper->length;
    latency_add(&browser->source.stats.ranges, uv_hrtime() / 1000 - w->sent_us);
    if (!w->unsure && !browser->unsampled)
        browser_samples_offer(&browser->samples, w->upper->offset, &w->lower.data);
    slices_take(&w->upper->data, &w->lower.data);
}

static bool needs_flush(const struct browser_io *w)
{
    const struct browser_source *browser = w->browser;
    return w->upper->flags & IO_FUA && browser_io_op_changes(w->upper->op) && browser->source.can_flush &&
           !browser->can_fua && !w->flushing;
}

/* 0: the FLUSH is on its way, or the write waits to be sent again. */
static int flush_written(struct browser_io *w)
{
    if (list_empty(&w->link)) /* given up meanwhile */
        return w->browser->source.state == SOURCE_OPEN ? -ETIMEDOUT : -ECANCELED;
    slices_clear(&w->lower.data);
    if (w->browser->online) {
        w->flushing = true;
        browser_io_send(w);
    }
    return 0;
}

/* --- a way that is doubted --- */

/* True: part of what was read is read again first. */
static bool read_again(struct browser_io *w)
{
    struct browser_source *browser = w->browser;
    if (w->doubted || w->upper->op != IO_READ || list_empty(&w->link) || !browser->online ||
        !browser->peer->connection.doubted || jitter_below(BROWSER_DOUBT) != 0 ||
        !browser_sample_take(&w->part, w->upper->offset, &w->lower.data))
        return false;
    slices_take(&w->upper->data, &w->lower.data);
    w->doubted = true;
    browser_io_send(w);
    return true;
}

/* What was read again came: back to what was read first. */
static int browser_io_judge(struct browser_io *w)
{
    bool same = browser_sample_matches(&w->part, &w->lower.data);
    slices_clear(&w->lower.data);
    if (!same)
        return -EIO;
    slices_take(&w->lower.data, &w->upper->data);
    return 0;
}

static void io_is_false(struct browser_io *w)
{
    struct browser_source *browser = w->browser;
    struct io *upper = w->upper;
    slices_clear(&upper->data);
    browser->source.stats.errors++;
    io_free(w);
    if (browser->online)
        browser_deceived(browser);
    io_finish(upper, -EIO);
}

static void on_lower_done(struct io *io)
{
    struct browser_io *w = container_of(io, struct browser_io, lower);
    struct browser_source *browser = w->browser;
    struct io *upper = w->upper;
    int status = io->status;
    w->sent = false;
    browser_learn_link(browser);
    if (status == 0 && needs_flush(w) && (status = flush_written(w)) == 0)
        return;
    if (status == 0 && read_again(w))
        return;
    if (status == 0 && w->doubted && browser_io_judge(w) != 0) {
        io_is_false(w);
        return;
    }
    if (status == 0) {
        io_succeeded(w);
    } else if (status != -ECANCELED && status != -EAGAIN) {
        if (status != -ETIMEDOUT)
            source_set_error(&browser->source, "the browser answered a %s with an error: %s",
                             upper->op == IO_READ ? "read" : "write", strerror(-status));
        note_failure(browser);
    }
    slices_clear(&io->data);
    if (w->doubted && status != 0)
        slices_clear(&upper->data);
    io_free(w);
    io_finish(upper, status);
}

/* Forgets samples of what is written, and takes none of reads that overlap a write under way. */
static void note_overlaps(struct browser_source *browser, struct browser_io *w)
{
    const struct io *io = w->upper;
    bool changes = browser_io_op_changes(io->op);
    if (browser->source.read_only)
        return;
    if (changes)
        browser_samples_forget(&browser->samples, io->offset, io->length);
    list_for_each (l, &browser->ios) {
        struct browser_io *other = container_of(l, struct browser_io, link);
        const struct io *with = other->upper;
        if (io->offset >= with->offset + with->length || with->offset >= io->offset + io->length)
            continue;
        w->unsure = w->unsure || browser_io_op_changes(with->op);
        other->unsure = other->unsure || changes;
    }
}

/* --- deadlines --- */

static void io_expire(struct browser_io *w)
{
    struct browser_source *browser = w->browser;
    char limit[TEXT_SIZE_MAX];
    browser_in_words(browser->options.io_timeout_ms, limit);
    if (!w->sent) { /* the error is that the connection was lost */
        browser_io_give_up(w, -ETIMEDOUT);
        return;
    }
    source_set_error(&browser->source, "the browser did not answer within %s", limit);
    if (browser_io_op_changes(w->upper->op)) {
        browser->unsampled = true; /* the server may still do the write */
        browser->samples.count = 0;
    }
    list_remove(&w->link);
    nbd_client_cancel(browser->peer->client, &w->lower, -ETIMEDOUT);
}

static void on_browser_io_deadline(uv_timer_t *timer)
{
    struct browser_source *browser = container_of(timer, struct browser_source, deadline);
    uint64_t now = uv_now(timer->loop), next = UINT64_MAX;
    list_for_each (l, &browser->ios) {
        struct browser_io *w = container_of(l, struct browser_io, link);
        if (w->deadline <= now)
            io_expire(w);
        else if (w->deadline < next)
            next = w->deadline;
    }
    if (next != UINT64_MAX)
        uv_timer_start(timer, on_browser_io_deadline, next - now, 0);
}

/* The deadline counts from when the host asked; for speculative ios from now. */
static void watch_deadline(struct browser_source *browser, struct browser_io *w)
{
    uv_timer_t *timer = &browser->deadline;
    uint64_t now = uv_now(browser->source.loop);
    w->deadline = (w->upper->flags & IO_PREFETCH ? now : w->upper->since) + browser->options.io_timeout_ms;
    uint64_t wait = w->deadline > now ? w->deadline - now : 0;
    if (!uv_is_active((uv_handle_t *)timer) || uv_timer_get_due_in(timer) > wait)
        uv_timer_start(timer, on_browser_io_deadline, wait, 0);
}

/* --- submitting --- */

/* The status of an io that is answered here; 1: it must be sent. */
static int answer_without(const struct browser_source *browser, const struct io *io)
{
    if (io->op == IO_CACHE || (io->op == IO_FLUSH && !browser->source.can_flush))
        return 0;
    if (io->op == IO_EXTENTS)
        return -ENOTSUP;
    if (browser->dead)
        return -ENOTCONN;
    if (browser->given_up)
        return -EIO;
    return !browser->online && io->flags & IO_PREFETCH ? -EAGAIN : 1;
}

void browser_submit(struct source *source, struct io *io)
{
    struct browser_source *browser = browser_of(source);
    int status = answer_without(browser, io);
    if (status <= 0) {
        io_finish_later(source->loop, io, status);
        return;
    }
    struct browser_io *w = mem_alloc(sizeof *w);
    w->browser = browser;
    w->upper = io;
    watch_deadline(browser, w);
    note_overlaps(browser, w);
    list_append(&browser->ios, &w->link);
    if (browser->online)
        browser_io_send(w);
}

void browser_take_back(struct browser_source *browser, struct nbd_client *client)
{
    struct link ios;
    list_init(&ios);
    nbd_client_take_back(client, &ios);
    for (struct link *l = list_pop(&ios); l; l = list_pop(&ios)) {
        struct browser_io *w = container_of(container_of(l, struct io, link), struct browser_io, lower);
        slices_clear(&w->lower.data);
        if (w->doubted)
            slices_clear(&w->upper->data);
        w->sent = w->flushing = w->doubted = false;
        browser->source.stats.retries++;
    }
}
