/*
 * What would an insert change in its image? The image is opened beside whatever is in, and closed again once that is
 * known.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "slot/slot_internal.h"

static void preview_fail(struct slot_preview *preview, int status, const char *error)
{
    preview->status = status;
    snprintf(preview->error, sizeof preview->error, "%s", error);
}

static void preview_count(FILE *out, unsigned count, const char *what, const char *then)
{
    size_t word = strcspn(what, " ");
    fprintf(out, "%u %.*s%s%s%s", count, (int)word, what, count == 1 ? "" : "s", what + word, then);
}

static void preview_write(FILE *out, const struct boot_injected *injected)
{
    fputs(injected->diff, out);
    if (*injected->warnings)
        fprintf(out, "warning: %s\n", injected->warnings);
    preview_count(out, injected->kernels, "kernel", ", ");
    preview_count(out, injected->timeouts, "timeout", ", ");
    preview_count(out, injected->defaults, "default", " and ");
    preview_count(out, injected->file_changes, "change by name", " in ");
    preview_count(out, injected->files, "file", "\n");
}

static void preview_take(struct slot_preview *preview)
{
    struct boot_injected injected;
    size_t size;
    pipeline_injected(preview->source, &injected);
    FILE *out = open_memstream(&preview->text, &size);
    if (!out)
        mem_exhausted();
    preview_write(out, &injected);
    if (fclose(out) != 0)
        mem_exhausted();
}

static void on_preview_opened(struct source *source, int status)
{
    struct slot *slot = source->owner;
    struct slot_preview *preview = slot->preview;
    if (status == 0)
        preview_take(preview);
    else if (status == -ECANCELED)
        preview_fail(preview, status, "the dry run was given up: the slot changes");
    else
        preview_fail(preview, status, *source->error ? source->error : strerror(-status));
    source_close(source);
}

static void on_preview_died(struct source *source, int status)
{
    (void)source;
    (void)status; /* it is closed already */
}

static void preview_end(struct slot *slot)
{
    struct slot_preview *preview = slot->preview;
    slot->preview = NULL;
    preview->done(preview->arg, preview->status, preview->error, preview->text ? preview->text : "");
    mem_free(preview->text);
    mem_free(preview);
    slot_step(slot);
}

static void on_preview_closed(struct source *source)
{
    struct slot *slot = source->owner;
    source_free(source);
    preview_end(slot);
}

void slot_preview_give_up(struct slot *slot)
{
    if (slot->preview)
        source_close(slot->preview->source);
}

/* --- refused at once --- */

struct preview_refusal {
    struct slot_preview preview;
    struct defer defer;
};

static void on_preview_refused(struct defer *defer)
{
    struct preview_refusal *refused = container_of(defer, struct preview_refusal, defer);
    refused->preview.done(refused->preview.arg, refused->preview.status, refused->preview.error, "");
    mem_free(refused);
}

static void preview_refuse(struct slot *slot, slot_preview_done *done, void *arg, const struct pipeline_refusal *why)
{
    struct preview_refusal *refused = mem_alloc(sizeof *refused);
    refused->preview = (struct slot_preview){.done = done, .arg = arg};
    preview_fail(&refused->preview, why->status, why->error);
    defer_setup(&refused->defer, on_preview_refused);
    defer_schedule(slot->shared->loop, &refused->defer);
}

/* --- asked for --- */

static struct source *preview_source(struct slot *slot, const char *url, const struct slot_insert_options *options,
                                     struct pipeline_refusal *refusal)
{
    *refusal = (struct pipeline_refusal){-EBUSY, "another dry run of the slot is under way (try again)"};
    if (slot->preview || slot->leaving || slot->next_config)
        return NULL;
    if (slot_url_problem(url, refusal))
        return NULL;
    return pipeline_preview_new(&slot->shared->context, &slot->config, url, options, refusal);
}

void slot_preview(struct slot *slot, const char *url, const struct slot_insert_options *options, slot_preview_done *done,
                  void *arg)
{
    struct pipeline_refusal refusal;
    struct source *source = preview_source(slot, url, options, &refusal);
    if (!source) {
        preview_refuse(slot, done, arg, &refusal);
        return;
    }
    slot->preview = mem_alloc(sizeof *slot->preview);
    *slot->preview = (struct slot_preview){.source = source, .done = done, .arg = arg};
    source->owner = slot;
    source->opened = on_preview_opened;
    source->died = on_preview_died;
    source->closed = on_preview_closed;
    source_open(source);
}
