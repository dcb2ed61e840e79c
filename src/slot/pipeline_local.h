/*
 * Sources of images on this machine: files, and uploads, which are files in a folder of their own.
 */
#ifndef SLOT_PIPELINE_LOCAL_H
#define SLOT_PIPELINE_LOCAL_H

#include "slot/pipeline.h"

/* NULL if the URL can't be such a source; refusal->error says why. `url`: a path or a file:// URL; "upload:NAME". */
struct source *pipeline_file_new(const struct pipeline_context *context, const struct config_slot *config, const char *url,
                                 const struct slot_insert_options *options, struct pipeline_refusal *refusal);
struct source *pipeline_upload_new(const struct pipeline_context *context, const struct config_slot *config, const char *url,
                                   const struct slot_insert_options *options, struct pipeline_refusal *refusal);

#endif
