#include "remote/sftp/hosts.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"

#define NAME_MAX_BYTES 300

/* In the order in which OpenSSH's client likes them, so that a fingerprint that it has shown is the one that we see. */
static const struct kind {
    const char *algorithm, *name;
    int type, bit;
} kinds[] = {
    {"ssh-ed25519", "ed25519", LIBSSH2_HOSTKEY_TYPE_ED25519, LIBSSH2_KNOWNHOST_KEY_ED25519},
    {"ecdsa-sha2-nistp256", "ecdsa", LIBSSH2_HOSTKEY_TYPE_ECDSA_256, LIBSSH2_KNOWNHOST_KEY_ECDSA_256},
    {"ecdsa-sha2-nistp384", "ecdsa", LIBSSH2_HOSTKEY_TYPE_ECDSA_384, LIBSSH2_KNOWNHOST_KEY_ECDSA_384},
    {"ecdsa-sha2-nistp521", "ecdsa", LIBSSH2_HOSTKEY_TYPE_ECDSA_521, LIBSSH2_KNOWNHOST_KEY_ECDSA_521},
    {"rsa-sha2-512", "rsa", LIBSSH2_HOSTKEY_TYPE_RSA, LIBSSH2_KNOWNHOST_KEY_SSHRSA},
    {"rsa-sha2-256", "rsa", LIBSSH2_HOSTKEY_TYPE_RSA, LIBSSH2_KNOWNHOST_KEY_SSHRSA},
    {"ssh-rsa", "rsa", LIBSSH2_HOSTKEY_TYPE_RSA, LIBSSH2_KNOWNHOST_KEY_SSHRSA},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static const struct kind *kind_of(int type)
{
    for (size_t i = 0; i < KINDS; i++)
        if (kinds[i].type == type)
            return &kinds[i];
    return NULL;
}

/* --- the key --- */

static void to_base64(const void *bytes, size_t length, char *out)
{
    EVP_EncodeBlock((unsigned char *)out, bytes, (int)length);
}

void ssh_fingerprint(const void *key, size_t length, char out[SSH_FINGERPRINT_MAX])
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned used = 0;
    EVP_Digest(key, length, hash, &used, EVP_sha256(), NULL);
    memcpy(out, "SHA256:", 8);
    to_base64(hash, used, out + 7);
    out[strcspn(out, "=")] = '\0';
}

static bool is_listed(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *p = list; p && *p;) {
        size_t whole = strcspn(p, " \t,"), part = whole;
        while (part > 0 && p[part - 1] == '=') /* some tools pad it */
            part--;
        if (part == length && strncmp(p, word, length) == 0)
            return true;
        p += whole + strspn(p + whole, " \t,");
    }
    return false;
}

/* --- the file --- */

/* The server's name as the file has it; for a port other than 22 only an entry with that port counts. */
static void entry_name(const struct ssh_hosts *hosts, char name[NAME_MAX_BYTES])
{
    if (hosts->port == 22)
        snprintf(name, NAME_MAX_BYTES, "%s", hosts->host);
    else
        snprintf(name, NAME_MAX_BYTES, "[%s]:%u", hosts->host, hosts->port);
}

char *ssh_read_file(const char *path, size_t most, size_t *length)
{
    struct stat st;
    FILE *file = path && stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "re") : NULL;
    if (!file)
        return NULL;
    char *text = mem_alloc(most + 1);
    *length = fread(text, 1, most, file);
    fclose(file);
    return text;
}

static char *read_hosts(const struct ssh_hosts *hosts)
{
    size_t length;
    return ssh_read_file(hosts->file, SSH_HOSTS_FILE_MAX, &length);
}

#define HASH_BASE64 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
#define HASH_DIGITS 27 /* of SHA-1's 20 bytes; one '=' follows */

/* "|1|SALT|HASH": libssh2 forgets what it allocated for a hash of another length. */
static bool is_hash_whole(const char *line)
{
    if (strncmp(line, "|1|", 3) != 0)
        return true;
    const char *hash = line + 3 + strspn(line + 3, HASH_BASE64 "=");
    return *hash == '|' && strspn(hash + 1, HASH_BASE64) == HASH_DIGITS && hash[1 + HASH_DIGITS] == '=' &&
           (hash[2 + HASH_DIGITS] == ' ' || hash[2 + HASH_DIGITS] == '\t');
}

/* Moves to the line's first word, and returns the length from there, with the end of the line; 0: there is no line any
 * more. */
static size_t ssh_hosts_next_line(const char **line)
{
    *line += strspn(*line, " \t");
    size_t length = strcspn(*line, "\n");
    return length + ((*line)[length] == '\n');
}

/* NULL: no file, or it can't be read. Lines that are not understood are passed over. */
static LIBSSH2_KNOWNHOSTS *sftp_hosts_load(LIBSSH2_SESSION *session, const char *text)
{
    LIBSSH2_KNOWNHOSTS *known = libssh2_knownhost_init(session);
    if (!known)
        mem_exhausted();
    const char *line = text;
    for (size_t length; (length = ssh_hosts_next_line(&line)); line += length)
        if (*line != '@' && *line != '#' && is_hash_whole(line))
            libssh2_knownhost_readline(known, line, length, LIBSSH2_KNOWNHOST_FILE_OPENSSH); /* takes a '\n' off */
    return known;
}

static int look_up(LIBSSH2_KNOWNHOSTS *known, const char *name, const char *key, size_t length, int bit)
{
    return libssh2_knownhost_check(known, name, key, length,
                                   LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_RAW | bit, NULL);
}

/* The host does not matter: a key that is revoked for one is good for none. */
static bool is_revoked(const char *text, const char *key, size_t key_length)
{
    char *coded = mem_alloc(key_length * 4 / 3 + 8);
    bool revoked = false;
    const char *line = text;
    to_base64(key, key_length, coded);
    for (size_t length; !revoked && (length = ssh_hosts_next_line(&line)); line += length)
        revoked = strncmp(line, "@revoked", 8) == 0 && memmem(line, length, coded, strlen(coded));
    mem_free(coded);
    return revoked;
}

/* --- asking --- */

static bool is_supported(const char **algorithms, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(algorithms[i], name) == 0)
            return true;
    return false;
}

/* Only kinds that libssh2 supports: its version 1.10 cuts others out of the list with memcpy() on overlapping
 * memory. */
void ssh_hosts_prefer(const struct ssh_hosts *hosts, LIBSSH2_SESSION *session)
{
    char order[512] = "", name[NAME_MAX_BYTES], *text = read_hosts(hosts);
    const char **supported = NULL;
    int count = libssh2_session_supported_algs(session, LIBSSH2_METHOD_HOSTKEY, &supported);
    LIBSSH2_KNOWNHOSTS *known = text ? sftp_hosts_load(session, text) : NULL;
    size_t used = 0;
    entry_name(hosts, name);
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < KINDS; i++) {
            /* Any key will do to ask whether there is one of the kind. */
            bool has = known && look_up(known, name, "x", 1, kinds[i].bit) == LIBSSH2_KNOWNHOST_CHECK_MISMATCH;
            if (has == (round == 0) && is_supported(supported, count, kinds[i].algorithm))
                used +=
                    (size_t)snprintf(order + used, sizeof order - used, "%s%s", used ? "," : "", kinds[i].algorithm);
        }
    }
    if (known)
        libssh2_knownhost_free(known);
    mem_free(text);
    if (count > 0)
        libssh2_free(session, supported);
    libssh2_session_method_pref(session, LIBSSH2_METHOD_HOSTKEY, order);
}

static bool sftp_hosts_refuse(char *error, size_t size, const struct ssh_hosts *hosts, const char *kind,
                              const char *fingerprint, const char *why)
{
    snprintf(error, size, "the SSH server %s has the %s host key %s, %s", hosts->host, kind, fingerprint, why);
    return false;
}

static bool sftp_hosts_is_known(const struct ssh_hosts *hosts, LIBSSH2_SESSION *session, const char *text,
                                const char *key, size_t length, int bit, int *found)
{
    char name[NAME_MAX_BYTES];
    LIBSSH2_KNOWNHOSTS *known = sftp_hosts_load(session, text);
    entry_name(hosts, name);
    *found = look_up(known, name, key, length, bit);
    libssh2_knownhost_free(known);
    return *found == LIBSSH2_KNOWNHOST_CHECK_MATCH;
}

bool ssh_hosts_check(const struct ssh_hosts *hosts, LIBSSH2_SESSION *session, char *error, size_t size)
{
    size_t length = 0;
    int type = 0, found = LIBSSH2_KNOWNHOST_CHECK_NOTFOUND;
    char fingerprint[SSH_FINGERPRINT_MAX];
    const char *key = libssh2_session_hostkey(session, &length, &type);
    const struct kind *kind = kind_of(type);
    if (!key || !kind) {
        snprintf(error, size, "the SSH server %s has a host key of a kind that is not known here", hosts->host);
        return false;
    }
    ssh_fingerprint(key, length, fingerprint);
    char *text = read_hosts(hosts);
    bool unreadable = hosts->file && !text;
    int problem = errno;
    bool revoked = text && is_revoked(text, key, length);
    bool good = !revoked && (is_listed(hosts->fingerprints, fingerprint) ||
                             (text && sftp_hosts_is_known(hosts, session, text, key, length, kind->bit, &found)));
    mem_free(text);
    if (good)
        return true;
    if (revoked)
        return sftp_hosts_refuse(error, size, hosts, kind->name, fingerprint, "which ssh-known-hosts says is revoked");
    if (unreadable) {
        snprintf(error, size, "ssh-known-hosts can't be read: %s", strerror(problem));
        return false;
    }
    if (found == LIBSSH2_KNOWNHOST_CHECK_MISMATCH)
        return sftp_hosts_refuse(error, size, hosts, kind->name, fingerprint,
                                 "not the one in ssh-known-hosts (it is another server, or it was installed anew)");
    if (hosts->fingerprints)
        return sftp_hosts_refuse(error, size, hosts, kind->name, fingerprint,
                                 "which is not in ssh-host-key or ssh-known-hosts");
    return sftp_hosts_refuse(
        error, size, hosts, kind->name, fingerprint,
        "which is unknown here (if ssh-keygen -l says the same on the server, set ssh-host-key to it)");
}
