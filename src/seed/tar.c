/* A config medium's files from a tar, by libarchive. See seed/files.h. Links, devices and the like are refused: a
 * medium without them would not be what was meant. */
#include <build-config.h>

#include "seed/files.h"
#include "seed/say.h"

#ifdef HAVE_LIBARCHIVE

#include <archive.h>
#include <archive_entry.h>
#include <string.h>

#include "base/wipe.h"

static const char *without_dot(const char *path)
{
    while (path && strncmp(path, "./", 2) == 0)
        path += 2;
    return path;
}

/* libarchive checks the size that the entry tells as it reads. */
static bool tar_add_entry(struct seed_files *files, struct archive *tar, const char *name, size_t size, char error[SEED_ERROR_MAX])
{
    unsigned char *data = wipe_malloc(size + 1);
    bool good = archive_read_data(tar, data, size) == (la_ssize_t)size
                    ? seed_files_add(files, name, data, size, error)
                    : seed_say(error, "the tar of the config medium's files ends within one");
    explicit_bzero(data, size);
    wipe_free(data);
    return good;
}

static bool take_entry(struct seed_files *files, struct archive *tar, struct archive_entry *entry, char error[SEED_ERROR_MAX])
{
    const char *name = without_dot(archive_entry_pathname(entry));
    la_int64_t size = archive_entry_size(entry);
    if (archive_entry_filetype(entry) == AE_IFDIR)
        return true;
    if (!name || archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
        return seed_say(error, "the tar has something that is neither file nor folder");
    if (size < 0 || size > SEED_SIZE_MAX)
        return seed_say(error, "the files have more than %u bytes", SEED_SIZE_MAX);
    return tar_add_entry(files, tar, name, (size_t)size, error);
}

static bool take_entries(struct seed_files *files, struct archive *tar, char error[SEED_ERROR_MAX])
{
    struct archive_entry *entry;
    int status;
    while ((status = archive_read_next_header(tar, &entry)) == ARCHIVE_OK)
        if (!take_entry(files, tar, entry, error))
            return false;
    return status == ARCHIVE_EOF || seed_say(error, "the tar of the config medium's files is damaged");
}

bool seed_files_parse_tar(struct seed_files *files, const void *text, size_t length, char error[SEED_ERROR_MAX])
{
    struct archive *tar = archive_read_new();
    bool opened = tar && archive_read_support_format_tar(tar) == ARCHIVE_OK &&
                  archive_read_open_memory(tar, text, length) == ARCHIVE_OK;
    bool good = opened ? take_entries(files, tar, error)
                       : seed_say(error, "the config medium's files are neither a JSON object nor a tar (uncompressed)");
    archive_read_free(tar);
    return good;
}

#else

bool seed_files_parse_tar(struct seed_files *files, const void *text, size_t length, char error[SEED_ERROR_MAX])
{
    (void)files;
    (void)text;
    (void)length;
    return seed_say(error, "the config medium's files are no JSON object, and this build has no libarchive to read a tar");
}

#endif
