#include "slot/pipeline_changes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "image/boot_edit.h"
#include "image/boot_inject.h"
#include "seed/image_files.h"

_Static_assert(SEED_ERROR_MAX <= SOURCE_ERROR_MAX, "a source says what is wrong with the files");

static const char *or_null(const char *text)
{
    return text && *text ? text : NULL;
}

static struct boot_wish wish_of(const struct slot_insert_options *options)
{
    return (struct boot_wish){.arguments = options->kernel_args,
                              .menu_timeout = options->menu_timeout,
                              .menu_default = or_null(options->seed.menu_default)};
}

bool pipeline_is_changing(const struct slot_insert_options *options)
{
    const struct boot_wish wish = wish_of(options);
    return wish.arguments || wish.menu_timeout || wish.menu_default || or_null(options->seed.image_files);
}

const char *pipeline_changes_problem(const struct slot_insert_options *options)
{
    const struct boot_wish wish = wish_of(options);
    return boot_wish_problem(&wish);
}

const char *pipeline_changes_url(const struct slot_insert_options *options)
{
    const char *given = or_null(options->seed.image_files);
    return given && !seed_image_files_is_json(given) ? given : NULL;
}

/* --- what is changed in files --- */

static int take_file_changes(void *arg, const char *text, size_t length, struct file_changes *changes, char error[SOURCE_ERROR_MAX])
{
    const struct seed_facts *facts = arg;
    bool good = seed_image_files_parse(text, length, facts, changes, error);
    return good ? 0 : facts->pending ? -EAGAIN : -EINVAL;
}

/* NULL with a refusal: the insert's own text is no good; without: there is none. */
static struct file_changes *given_changes(const struct slot_insert_options *options, const struct seed_facts *facts,
                                          struct pipeline_refusal *refusal)
{
    const char *given = or_null(options->seed.image_files);
    refusal->status = 0;
    if (!given || pipeline_changes_url(options))
        return NULL;
    struct file_changes *changes = mem_alloc(sizeof *changes);
    struct seed_facts known = *facts;
    refusal->status = take_file_changes(&known, given, strlen(given), changes, refusal->error);
    if (refusal->status == 0)
        return changes;
    file_changes_clear(changes);
    mem_free(changes);
    return NULL;
}

bool pipeline_planner_new(uv_loop_t *loop, const struct slot_insert_options *options, const struct seed_facts *facts,
                          struct source *files, struct inject_planner **planner, struct pipeline_refusal *refusal)
{
    const struct boot_wish wish = wish_of(options);
    struct file_changes *changes = given_changes(options, facts, refusal);
    *planner = NULL;
    if (refusal->status != 0) {
        source_free(files);
        return false;
    }
    if (!pipeline_is_changing(options))
        return true;
    struct boot_inject_files read = {.source = files, .take = take_file_changes, .arg = files ? mem_alloc(sizeof *facts) : NULL};
    if (files)
        *(struct seed_facts *)read.arg = *facts;
    *planner = boot_inject_new(loop, &wish, changes, &read);
    return true;
}
