/* What an insert wants other in an image: whether it wants anything, and the planner of it. See slot/pipeline.h. */
#ifndef SLOT_PIPELINE_CHANGES_H
#define SLOT_PIPELINE_CHANGES_H

#include "slot/pipeline.h"

bool pipeline_is_changing(const struct slot_insert_options *options);
/* Why it can't be wished, as far as that is known before the image is; NULL: it can. */
const char *pipeline_changes_problem(const struct slot_insert_options *options);
/* The URL of what is changed in files; NULL: there is none, or the insert has it itself. */
const char *pipeline_changes_url(const struct slot_insert_options *options);
/* Takes over `files`, a reader of that URL, whatever it answers. *planner is NULL if nothing is to be changed. False:
 * `refusal` says why not. */
bool pipeline_planner_new(uv_loop_t *loop, const struct slot_insert_options *options, const struct seed_facts *facts,
                          struct source *files, struct inject_planner **planner, struct pipeline_refusal *refusal);

#endif
