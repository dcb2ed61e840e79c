/* The two syntaxes that go by the line: syslinux's (its wiki, "Config"), and that of systemd-boot's entries. */
#include <string.h>
#include <strings.h>

#include "image/boot_edit_internal.h"

/* --- syslinux --- */

/* A section begins with LABEL, or is what stands before the first one. */
struct section {
    bool not_linux;           /* it starts a menu, a disk... */
    bool labelled, has_append, has_kernel;
    struct boot_line kernel; /* the line of KERNEL or LINUX */
    struct boot_line append;
};

bool boot_names_no_kernel(const char *name, size_t length)
{
    static const char *const endings[] = {".c32", ".com", ".cbt", ".0", ".bin", ".bs", ".bss", ".img"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t n = strlen(endings[i]);
        if (length >= n && strncasecmp(name + length - n, endings[i], n) == 0)
            return true;
    }
    return false;
}

static bool starts_something_else(const struct boot_editor *editor, const struct boot_line *line)
{
    static const char *const words[] = {"com32", "boot", "bss", "pxe", "fdimage", "comboot", "config", "localboot"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (boot_line_is(editor, line, words[i]))
            return true;
    return boot_line_is(editor, line, "kernel") && boot_names_no_kernel(editor->text + line->rest, line->end - line->rest);
}

static void add_line(const struct boot_editor *editor, struct section *section, const struct boot_line *line)
{
    if (starts_something_else(editor, line))
        section->not_linux = true;
    if (boot_line_is(editor, line, "kernel") || boot_line_is(editor, line, "linux")) {
        section->has_kernel = true;
        section->kernel = *line;
    }
    if (boot_line_is(editor, line, "append")) {
        section->has_append = true;
        section->append = *line;
    }
}

/* "APPEND -" means that the one before all labels does not count; with arguments behind it the dash would be one. */
static void append_there(struct boot_editor *editor, const struct boot_line *line)
{
    bool dash = boot_editor_appends(editor) && line->end - line->rest == 1 && editor->text[line->rest] == '-';
    if (dash) {
        boot_editor_copy_to(editor, line->word + line->word_length);
        editor->copied = line->end;
        boot_editor_append(editor, 0, line->end);
    } else {
        boot_editor_append(editor, boot_line_divider(editor, line), line->end);
    }
}

static void append_below(struct boot_editor *editor, const struct boot_line *kernel)
{
    if (boot_editor_appends(editor)) {
        boot_editor_copy_to(editor, kernel->end);
        boot_editor_put_text(editor, "\n");
        boot_editor_put(editor, editor->text + kernel->start, kernel->word - kernel->start);
        boot_editor_put_text(editor, "append");
    }
    boot_editor_append(editor, 0, kernel->end);
}

static void end_section(struct boot_editor *editor, struct section *section)
{
    if (section->not_linux) { /* not a kernel's arguments */
    } else if (section->has_append) {
        append_there(editor, &section->append);
    } else if (section->has_kernel && section->labelled) {
        append_below(editor, &section->kernel);
    }
}

static void set_timeout(struct boot_editor *editor, const struct boot_line *line)
{
    if (boot_line_is(editor, line, "timeout") && line->rest < line->end)
        boot_editor_set_timeout(editor, line->rest, line->end);
}

/* The text is copied in order, and a timeout ends a section: it is one for all of them. */
void boot_edit_syslinux(struct boot_editor *editor)
{
    struct section section = {0};
    struct boot_line line = {0};
    while (boot_line_next(editor, &line)) {
        if (editor->timeout && boot_line_is(editor, &line, "timeout")) {
            end_section(editor, &section);
            section = (struct section){0};
            set_timeout(editor, &line);
        }
        if (boot_line_is(editor, &line, "label")) {
            end_section(editor, &section);
            section = (struct section){.labelled = true};
        }
        add_line(editor, &section, &line);
    }
    end_section(editor, &section);
}

/* --- systemd-boot --- */

void boot_edit_loader(struct boot_editor *editor)
{
    struct boot_line line = {0};
    while (boot_line_next(editor, &line))
        set_timeout(editor, &line);
}

/* All lines of options count, one after the other. */
void boot_edit_entry(struct boot_editor *editor)
{
    struct boot_line line = {0}, options = {0}, kernel = {0};
    while (boot_line_next(editor, &line)) {
        if (boot_line_is(editor, &line, "options"))
            options = line;
        if (boot_line_is(editor, &line, "linux"))
            kernel = line;
    }
    if (kernel.next == 0)
        return;
    if (options.next > 0) {
        boot_editor_append(editor, boot_line_divider(editor, &options), options.end);
        return;
    }
    if (boot_editor_appends(editor)) {
        boot_editor_copy_to(editor, kernel.end);
        boot_editor_put_text(editor, "\noptions");
    }
    boot_editor_append(editor, 0, kernel.end);
}
