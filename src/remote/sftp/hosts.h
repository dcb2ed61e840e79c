/*
 * Is an SSH server the one that it should be? By fingerprints of its host key, as ssh-keygen -l
 * shows them, and by a file as OpenSSH's known_hosts (sshd(8)): names, [name]:port, hashed names,
 * @revoked; patterns and certificates are not looked at.
 */
#ifndef REMOTE_SFTP_HOSTS_H
#define REMOTE_SFTP_HOSTS_H

#include <libssh2.h>
#include <stdbool.h>
#include <stdint.h>

#define SSH_HOSTS_FILE_MAX  (1u << 20) /* bytes of the file that are looked at */
#define SSH_FINGERPRINT_MAX 64

struct ssh_hosts {
    const char *fingerprints; /* "SHA256:...", separated by blanks; NULL: none */
    const char *file;         /* NULL: none */
    const char *host;
    uint16_t port;
};

/* Up to `most` bytes of a regular file (a FIFO would be waited for) and a zero byte, for mem_free(); NULL: it
 * can't be read. */
char *ssh_read_file(const char *path, size_t most, size_t *length);
/* "SHA256:" and base64 of the key's hash. */
void ssh_fingerprint(const void *key, size_t length, char out[SSH_FINGERPRINT_MAX]);
/* Before the handshake: asks first for the kinds of key that the file has for the server. */
void ssh_hosts_prefer(const struct ssh_hosts *hosts, LIBSSH2_SESSION *session);
/* After the handshake: is the server's key right? False: `error` says why not, and what to do. */
bool ssh_hosts_check(const struct ssh_hosts *hosts, LIBSSH2_SESSION *session, char *error, size_t size);

#endif
