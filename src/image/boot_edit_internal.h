/* What the editors of each syntax share. See image/boot_edit.h. */
#ifndef IMAGE_BOOT_EDIT_INTERNAL_H
#define IMAGE_BOOT_EDIT_INTERNAL_H

#include "image/boot_edit.h"

/* A text that is written from one that is read: what stands before a place is copied, then something is put there. */
struct boot_editor {
    const char *text;
    size_t length;
    size_t copied; /* bytes of it that are in `out` */
    char *out;
    size_t used, room;
    bool too_long; /* for BOOT_TEXT_MAX: what is put then is left out */
    const char *before, *after; /* the arguments, as the syntax writes them: before a line's "---", and at its end */
    const char *timeout;        /* as the syntax writes it; NULL: it is left alone */
    unsigned kernels, timeouts;
};

void boot_editor_put(struct boot_editor *editor, const char *bytes, size_t length);
void boot_editor_put_text(struct boot_editor *editor, const char *text);
void boot_editor_copy_to(struct boot_editor *editor, size_t at);
struct boot_edited boot_editor_made(const struct boot_editor *editor); /* with no kernels and no timeouts */
/* A kernel's line, the last word of which ends at `end`; its "---" stands at `divider`, or is 0. */
void boot_editor_append(struct boot_editor *editor, size_t divider, size_t end);

bool boot_editor_appends(const struct boot_editor *editor); /* else kernels are counted only */
/* What stands from `start` to `end` is a timeout. */
void boot_editor_set_timeout(struct boot_editor *editor, size_t start, size_t end);

/* Puts a line before all that was written. */
void boot_editor_put_first(struct boot_editor *editor, const char *words, const char *value);

void boot_edit_grub(struct boot_editor *editor);
void boot_edit_syslinux(struct boot_editor *editor);
void boot_edit_entry(struct boot_editor *editor);
void boot_edit_loader(struct boot_editor *editor);
char *boot_grub_quoted(const char *arguments); /* as GRUB reads them back; for mem_free() */
void boot_grub_put_quoted(struct boot_editor *out, const char *word); /* one word, with its blanks */

/* What stands next in one of GRUB's scripts, from `end` on: a word, or a character that ends a command. */
enum boot_grub_token { GRUB_END, GRUB_WORD, GRUB_BREAK };
enum boot_grub_token boot_grub_next(const char *text, size_t length, size_t *start, size_t *end);
bool boot_grub_is_keyword(const char *word, size_t length); /* behind which another command begins */

/* A line of the text, without its end, and its first word. */
struct boot_line {
    size_t start, end, next; /* the last two without and with the line's end */
    size_t word, word_length;
    size_t rest; /* where what follows the word begins; `end`, if nothing does */
};
/* False: there is no further line. `line` is the one before; all zero for the first. */
bool boot_line_next(const struct boot_editor *editor, struct boot_line *line);
bool boot_line_is(const struct boot_editor *editor, const struct boot_line *line, const char *word);
/* syslinux: whether that is a menu, a disk or a program, by its ending. */
bool boot_names_no_kernel(const char *name, size_t length);
size_t boot_line_divider(const struct boot_editor *editor, const struct boot_line *line);

#endif
