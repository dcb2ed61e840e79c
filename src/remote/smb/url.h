/* The parts of a URL of an image on an SMB share, and of its user's name. Pure. */
#ifndef REMOTE_SMB_URL_H
#define REMOTE_SMB_URL_H

#include <stdbool.h>
#include <stdint.h>

#define SMB_URL_PORT 445

/* Each is freed by smb_url_clear(). */
struct smb_url {
    char *host; /* without brackets */
    uint16_t port;
    char *share, *path; /* decoded, UTF-8 */
};

struct smb_user {
    char *name, *domain; /* NULL: none */
    char *text;          /* the memory that both point into */
};

/* Returns NULL, or what is wrong with the text; `parsed` is empty then. */
const char *smb_url_parse(const char *text, struct smb_url *parsed);
void smb_url_clear(struct smb_url *url);
/* The server as a share's name has it: an IPv6 address can't be in one, and Windows knows it by another spelling. */
char *smb_url_server(const char *host); /* for mem_free() */

/* DOMAIN\user, DOMAIN/user, user@domain, user; of several the first separator but the last @ counts. */
void smb_user_parse(const char *text, struct smb_user *user);
void smb_user_clear(struct smb_user *user);

#endif
