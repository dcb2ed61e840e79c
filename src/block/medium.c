#include "block/medium.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define SECTOR       512u
#define VOLUME_STEP  2048u
#define PAGE_BLANKS  512u   /* blanks that may stand before a page's first tag */

static bool has(const unsigned char *head, size_t length, size_t at, const char *text)
{
    size_t need = strlen(text);
    return at <= length && need <= length - at && memcmp(head + at, text, need) == 0;
}

/* ISO 9660's first descriptor, or one of UDF's recognition sequence, which may stand alone. */
static bool is_volume(const unsigned char *head, size_t length)
{
    static const char *const names[] = {"CD001", "BEA01", "NSR02", "NSR03"};
    for (size_t at = MEDIUM_VOLUMES; at + VOLUME_STEP <= length; at += VOLUME_STEP)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (has(head, length, at + 1, names[i]))
                return true;
    return false;
}

/* An MBR, and the boot sector of a FAT file system, end alike. */
static bool is_disk(const unsigned char *head, size_t length)
{
    return has(head, length, SECTOR - 2, "\x55\xaa") || has(head, length, SECTOR, "EFI PART");
}

static bool is_tag(const unsigned char *text, size_t length, const char *tag)
{
    return strlen(tag) <= length && strncasecmp((const char *)text, tag, strlen(tag)) == 0;
}

static bool medium_is_page(const unsigned char *head, size_t length)
{
    static const char *const tags[] = {"<!doctype html", "<html", "<head", "<body", "<script", "<?xml", "<!--"};
    size_t at = has(head, length, 0, "\xef\xbb\xbf") ? 3 : 0;
    while (at < length && at < PAGE_BLANKS && strchr(" \t\r\n", head[at]) && head[at])
        at++;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (is_tag(head + at, length - at, tags[i]))
            return true;
    return false;
}

enum medium_doubt medium_look(const unsigned char *head, size_t length, uint64_t size)
{
    if (medium_is_page(head, length))
        return MEDIUM_IS_PAGE;
    if (size % SECTOR != 0)
        return MEDIUM_SIZE_IS_ODD;
    return is_volume(head, length) || is_disk(head, length) ? MEDIUM_GOOD : MEDIUM_IS_UNKNOWN;
}

const char *medium_doubt_words(enum medium_doubt doubt)
{
    switch (doubt) {
    case MEDIUM_IS_PAGE:
        return "it is a web page and no image (check the URL: the server may ask for a login, or want another one)";
    case MEDIUM_SIZE_IS_ODD:
        return "its size is no multiple of 512 bytes, as a medium's is (is it cut short, or compressed?)";
    case MEDIUM_IS_UNKNOWN:
        return "it has no ISO 9660 or UDF volume, no partition table and no FAT file system (is it compressed, or "
               "encrypted?)";
    default:
        return "";
    }
}
