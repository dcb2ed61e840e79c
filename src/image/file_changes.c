#include "image/file_changes.h"

#include <string.h>

#include "base/text.h"
#include "base/wipe.h"
#include "image/boot_edit_internal.h"

static void file_change_clear(struct file_change *change)
{
    mem_free(change->path);
    mem_free(change->mark);
    if (change->text)
        explicit_bzero(change->text, change->length); /* wipe_free() leaves large ones, which are refused here */
    wipe_free(change->text);
    memset(change, 0, sizeof *change);
}

/* Each part of a path has something in it, and none is a way back. */
static bool is_path(const char *path)
{
    for (const char *p = path; *p == '/'; p += strcspn(p, "/")) {
        size_t length = strcspn(++p, "/");
        if (length == 0 || (length <= 2 && strspn(p, ".") >= length))
            return false;
        if (!p[length])
            return true;
    }
    return false;
}

static const char *file_change_problem(const struct file_changes *changes, const struct file_change *change)
{
    if (changes->count == FILE_CHANGES_MAX)
        return "image-files are 32 changes at most";
    if (strlen(change->path) > FILE_CHANGES_PATH_MAX || !is_path(change->path))
        return "a path of image-files begins at the image's root, as /boot/grub/grub.cfg, and has 160 bytes at most";
    if (change->length == 0)
        return "what image-files put in a file's place, or into it, is empty (a line's end is enough)";
    if (change->mark && !*change->mark)
        return "the line of image-files, after or before which others are put, is empty";
    return change->length > FILE_CHANGES_SIZE_MAX - changes->size ? "image-files have 64 KiB of contents at most" : NULL;
}

const char *file_changes_add(struct file_changes *changes, struct file_change *change)
{
    const char *problem = file_change_problem(changes, change);
    if (problem) {
        file_change_clear(change);
        return problem;
    }
    changes->list[changes->count++] = *change;
    changes->size += change->length;
    return NULL;
}

void file_changes_clear(struct file_changes *changes)
{
    for (unsigned i = 0; i < changes->count; i++)
        file_change_clear(&changes->list[i]);
    changes->count = 0;
    changes->size = 0;
}

/* Where the lines go. False: there is no such line. */
static bool find_line_place(const struct file_change *change, const struct boot_editor *editor, size_t *place)
{
    struct boot_line line = {0};
    *place = editor->length;
    if (change->how == FILE_LINES_AT_END)
        return true;
    while (boot_line_next(editor, &line))
        if (memmem(editor->text + line.start, line.end - line.start, change->mark, strlen(change->mark))) {
            *place = change->how == FILE_LINES_AFTER ? line.next : line.start;
            return true;
        }
    return false;
}

static void end_line(struct boot_editor *editor)
{
    if (editor->used > 0 && editor->out[editor->used - 1] != '\n')
        boot_editor_put_text(editor, "\n");
}

char *file_change_make(const struct file_change *change, const char *text, size_t length, size_t *made)
{
    struct boot_editor editor = {.text = text, .length = length};
    size_t place;
    if (change->how == FILE_REPLACED) {
        boot_editor_put(&editor, change->text, change->length);
    } else if (find_line_place(change, &editor, &place)) {
        boot_editor_copy_to(&editor, place);
        end_line(&editor);
        boot_editor_put(&editor, change->text, change->length);
        end_line(&editor);
        boot_editor_copy_to(&editor, length);
    }
    *made = editor.used;
    return editor.out;
}
