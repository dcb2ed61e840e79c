/*
 * Changes of an image's files as somebody gives them: JSON, an object of paths. A text, or {"base64": TEXT}, is what
 * comes in the file's place; {"insert": LINES}, perhaps with "after" or "before" and a part of a line, are lines that are
 * put into it, at its end or there. A list has several of these for one file.
 */
#ifndef SEED_IMAGE_FILES_H
#define SEED_IMAGE_FILES_H

#include <string.h>

#include "image/file_changes.h"
#include "seed/facts.h"

/* Whether the text is such JSON, and no file's name. */
static inline bool seed_image_files_is_json(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '{';
}

/* Adds them, with placeholders filled in where it is text. False: `error` says why not, without the contents. */
bool seed_image_files_parse(const char *text, size_t length, const struct seed_facts *facts, struct file_changes *changes,
                            char error[SEED_ERROR_MAX]);

#endif
