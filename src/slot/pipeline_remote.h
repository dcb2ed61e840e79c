/*
 * The part of the pipeline that reads an image on another machine: by what its address
 * says (remote/image_location.h), what the configuration allows and what this build can do.
 */
#ifndef SLOT_PIPELINE_REMOTE_H
#define SLOT_PIPELINE_REMOTE_H

#include "slot/pipeline.h"

/* NULL: the text can't be made a source, and `refusal` says why. */
struct source *pipeline_remote_new(const struct pipeline_context *context, const struct config_slot *config,
                                   const char *text, const struct slot_insert_options *options,
                                   struct pipeline_refusal *refusal);

#endif
