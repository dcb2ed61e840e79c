#include "slot/pipeline_local.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "source/file.h"

#define UPLOAD_SCHEME "upload:"

/* --- files --- */

/* The path of a "file://" URL, decoded; NULL if it names another host. */
static char *file_url_path(const char *url)
{
    if (strncasecmp(url, "file://", 7) != 0)
        return NULL;
    const char *path = url + strlen("file://");
    if (strncasecmp(path, "localhost/", 10) == 0)
        path += 9;
    if (*path != '/')
        return NULL;
    int length;
    char *decoded = curl_easy_unescape(NULL, path, 0, &length);
    char *copy = decoded && strlen(decoded) == (size_t)length ? mem_strdup(decoded) : NULL;
    curl_free(decoded);
    return copy;
}

struct source *pipeline_file_new(const struct pipeline_context *context, const struct config_slot *config,
                                 const char *url, const struct slot_insert_options *options,
                                 struct pipeline_refusal *refusal)
{
    char *path = *url == '/' ? mem_strdup(url) : file_url_path(url);
    if (!path) {
        snprintf(refusal->error, SLOT_ERROR_MAX, "a file URL must be file:///PATH on this machine");
        return NULL;
    }
    struct file_source_options file = {
        .path = path,
        .directory = context->file_directory,
        .writable = pipeline_overlay(config, false) == OVERLAY_NONE && pipeline_option(options->writable, config->writable),
    };
    struct source *source = file_source_new(context->loop, config->name, &file);
    mem_free(path);
    return source;
}

/* --- uploads --- */

bool pipeline_is_upload(const char *url)
{
    return location_kind(url) == LOCATION_UPLOAD;
}

char *pipeline_upload_name(const char *url)
{
    int length;
    char *decoded = curl_easy_unescape(NULL, url + strlen(UPLOAD_SCHEME), 0, &length);
    bool good = decoded && length > 0 && strlen(decoded) == (size_t)length && *decoded != '.' && !strchr(decoded, '/');
    char *name = good ? mem_strdup(decoded) : NULL;
    curl_free(decoded);
    return name;
}

/* The store hides what is not complete behind names that begin with a dot. */
struct source *pipeline_upload_new(const struct pipeline_context *context, const struct config_slot *config,
                                      const char *url, const struct slot_insert_options *options,
                                      struct pipeline_refusal *refusal)
{
    const char *directory = context->upload_directory;
    char *name = directory && *directory ? pipeline_upload_name(url) : NULL;
    if (!name) {
        snprintf(refusal->error, SLOT_ERROR_MAX,
                 directory && *directory ? "there can't be an upload of that name"
                                         : "uploads are off (set upload-directory)");
        return NULL;
    }
    size_t size = strlen(directory) + strlen(name) + 2;
    char *path = mem_alloc(size);
    snprintf(path, size, "%s/%s", directory, name);
    struct file_source_options file = {
        .path = path,
        .directory = directory,
        .writable = pipeline_overlay(config, false) == OVERLAY_NONE && pipeline_option(options->writable, config->writable),
    };
    struct source *source = file_source_new(context->loop, config->name, &file);
    mem_free(path);
    mem_free(name);
    return source;
}
