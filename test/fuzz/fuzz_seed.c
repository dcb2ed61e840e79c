/*
 * What a config medium is made of, in memory of its own size. The first byte chooses the kind of the medium, and whether the
 * rest is its network's data, or what is changed in an image's files; else it is the JSON or tar of its files, and what can
 * be made of it is an image in which each file is where its name says.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/text.h"
#include "seed/image_files.h"
#include "seed/iso.h"
#include "seed/network.h"
#include "seed/wish.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void network(const char *text)
{
    static const char *const kinds[] = {"ip", "debian-installer", "provisioner"};
    struct seed_network parsed;
    char error[SEED_ERROR_MAX], out[SEED_ARGUMENTS_MAX];
    if (!seed_network_parse(text, &parsed, error))
        return;
    for (unsigned i = 0; i < 3; i++) {
        must(seed_network_arguments(&parsed, kinds[i], out, error) && strlen(out) < sizeof out - 1);
        must(strcspn(out, "\n\t") == strlen(out));
    }
    json_decref(seed_network_config(&parsed, "x"));
    json_decref(seed_network_data(&parsed, "x"));
}

static void image_files(const char *text, size_t length)
{
    static const struct seed_facts facts = {.slot = "slot0"};
    struct file_changes changes = {.count = 0};
    char error[SEED_ERROR_MAX];
    bool good = seed_image_files_parse(text, length, &facts, &changes, error);
    must(changes.count <= FILE_CHANGES_MAX && changes.size <= FILE_CHANGES_SIZE_MAX && good <= (changes.count > 0));
    for (unsigned i = 0; i < changes.count; i++) {
        size_t made;
        char *now = file_change_make(&changes.list[i], text, length, &made);
        must(!now || made >= changes.list[i].length);
        mem_free(now);
    }
    file_changes_clear(&changes);
}

static bool holds(const struct bytes *image, const struct seed_file *file)
{
    return file->size == 0 || memmem(image->data, image->length, file->data, file->size);
}

static void files(const struct seed_wish *wish, const char *text, size_t length)
{
    static const struct seed_facts facts = {.slot = "slot0", .mac = "02:00:00:00:00:01"};
    struct seed_files list = {.count = 0};
    char error[SEED_ERROR_MAX];
    bool made = seed_files_parse(&list, text, length, error) && seed_wish_complete(wish, &facts, &list, error);
    must(list.count <= SEED_FILES_MAX && list.size <= SEED_SIZE_MAX);
    struct bytes *image = made ? seed_iso_write(&list, seed_wish_label(wish)) : NULL;
    must(!image || image->length % 2048 == 0);
    for (unsigned i = 0; image && i < list.count; i++)
        must(holds(image, &list.list[i]));
    bytes_unref(image);
    seed_files_clear(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const kinds[] = {NULL, "cidata", "config-2", "OEMDRV", "ignition", "autounattend"};
    if (size == 0)
        return 0;
    const struct seed_wish wish = {.kind = kinds[data[0] % 6]};
    char *text = malloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] & 0x80)
        network(text);
    else if (data[0] & 0x40)
        image_files(text, size - 1);
    else
        files(&wish, text, size - 1);
    free(text);
    return 0;
}
