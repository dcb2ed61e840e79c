/*
 * A file as OpenSSH's known_hosts, fingerprints as an administrator writes them, and the key that a server shows: what is
 * taken for the server's own key stands in one of them, and is not revoked; else there are words. The first byte: bits 0 to 2:
 * the key's kind; 3: not port 22. The second: its length; the key; the fingerprints up to a NUL; the file. "@FP" and "@KEY"
 * in them become the key's fingerprint and its base64, so that a key can be right.
 * The linker puts a function here in the place of the one that asks the session for the key.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"
#include "remote/sftp/hosts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__wrap_libssh2_session_hostkey(LIBSSH2_SESSION *session, size_t *length, int *type);

#define TEXT_MAX 8192

static struct {
    char key[256];
    size_t length;
    int type;
    char fingerprint[SSH_FINGERPRINT_MAX], base64[400];
} shown;

static void must(bool condition)
{
    if (!condition)
        abort();
}

const char *__wrap_libssh2_session_hostkey(LIBSSH2_SESSION *session, size_t *length, int *type)
{
    (void)session;
    *length = shown.length;
    *type = shown.type;
    return shown.length ? shown.key : NULL;
}

static void show(const uint8_t *key, size_t length, int type)
{
    memcpy(shown.key, key, length);
    shown.length = length;
    shown.type = type;
    ssh_fingerprint(key, length, shown.fingerprint);
    EVP_EncodeBlock((unsigned char *)shown.base64, key, (int)length);
}

/* With what stands for the key in its place; gives the length. */
static size_t put_in(const uint8_t *from, size_t length, char to[TEXT_MAX])
{
    size_t used = 0;
    for (size_t at = 0; at < length && used + sizeof shown.base64 < TEXT_MAX;) {
        bool is_print = length - at >= 3 && memcmp(from + at, "@FP", 3) == 0;
        bool is_key = length - at >= 4 && memcmp(from + at, "@KEY", 4) == 0;
        if (is_print || is_key)
            used += (size_t)snprintf(to + used, TEXT_MAX - used, "%s", is_print ? shown.fingerprint : shown.base64);
        else
            to[used++] = (char)from[at];
        at += is_print ? 3 : is_key ? 4 : 1;
    }
    to[used] = '\0';
    return used;
}

/* As simply as can be. */
static bool line_has(const char *text, const char *begin, const char *what)
{
    for (const char *line = text; *line;) {
        line += strspn(line, " \t");
        size_t length = strcspn(line, "\n");
        char *copy = mem_alloc(length + 1);
        memcpy(copy, line, length);
        bool has = strncmp(copy, begin, strlen(begin)) == 0 && strstr(copy, what);
        mem_free(copy);
        if (has)
            return true;
        line += length + (line[length] == '\n');
    }
    return false;
}

static void check(const char *fingerprints, const char *file, size_t length, uint16_t port)
{
    static LIBSSH2_SESSION *session;
    static int fd = -1;
    char path[32], error[512] = "";
    if (!session) {
        must((session = libssh2_session_init()) && (fd = memfd_create("hosts", MFD_CLOEXEC)) >= 0);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    must(ftruncate(fd, 0) == 0 && pwrite(fd, file, length, 0) == (ssize_t)length);
    const struct ssh_hosts hosts = {fingerprints, path, "server.example", port};
    if (!ssh_hosts_check(&hosts, session, error, sizeof error)) {
        must(*error);
        return;
    }
    must(!line_has(file, "@revoked", shown.base64));
    must(strstr(fingerprints, shown.fingerprint) || line_has(file, "", shown.base64));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char fingerprints[TEXT_MAX], file[TEXT_MAX];
    if (size < 2 || size - 2 < data[1])
        return 0;
    show(data + 2, data[1], (data[0] & 7) % 7);
    const uint8_t *rest = data + 2 + data[1], *end = data + size, *nul = memchr(rest, 0, (size_t)(end - rest));
    size_t first = (size_t)((nul ? nul : end) - rest), second = nul ? (size_t)(end - nul - 1) : 0;
    put_in(rest, first, fingerprints);
    size_t length = put_in(rest + first + (nul != NULL), second, file);
    if (memchr(file, 0, length)) /* what stands behind it is not looked at */
        return 0;
    check(fingerprints, file, length, data[0] & 8 ? 2222 : 22);
    return 0;
}
