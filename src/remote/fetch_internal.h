/*
 * What fetch.c and the protocols share. A fetch belongs to the protocol of its URL's scheme,
 * which it gets at its first start and keeps: a redirect never leads to another one.
 * Private to remote/.
 */
#ifndef REMOTE_FETCH_INTERNAL_H
#define REMOTE_FETCH_INTERNAL_H

#include "net/tls_trust.h"
#include "remote/fetch.h"
#include "remote/origin.h"

struct fetch_lines;
struct fetch_route;
struct tls_client;

/* What is common to all fetches of a source. */
struct fetch_setup {
    enum fetch_http http;
    bool allow_plain, verify, by_time;
    unsigned redirects;
    struct trust trust;
    char *client_cert, *client_key, *user, *password, *bearer_token, *proxy;
    struct origin key_origin, login_origin; /* what they are for */
    enum fetch_auth auth;
    enum address_local local;
    uint64_t connect_timeout_ms, stall_timeout_ms;
    enum fetch_tls ftp_tls;
    char *ssh_known_hosts; /* a file's path; read by each connection that is made */
    char *ssh_host_key, *ssh_key;
    struct fetch_lines *lines; /* FTP's and SFTP's connections; NULL: none was made */
    struct tls_client *tls;    /* FTP's; NULL: none was made */
    struct fetch_route *route; /* HTTP's connections; NULL: none was made, or it is left */
    uint64_t first_byte_ms;    /* HTTP: how long it takes, smoothed; 0: not known */
    uint64_t patience_ms;      /* HTTP: the least that is waited for it, since less was in vain */
};

struct fetch_protocol {
    const char *const *schemes; /* ends with NULL */
    unsigned connections;       /* ranges at a time that make sense */
    uint32_t probe_bytes;       /* the length of a probe */
    void (*init)(struct fetch *fetch);
    /* What is asked for is in the fetch: a probe, or `length` bytes from `offset` on. */
    void (*start)(struct fetch *fetch, const char *url);
    void (*cancel)(struct fetch *fetch);
    void (*free)(struct fetch *fetch);
};

extern const struct fetch_protocol fetch_http, fetch_ftp, fetch_sftp;

__attribute__((format(printf, 3, 4))) void fetch_judge(struct fetch *fetch, enum fetch_verdict verdict,
                                                       const char *format, ...);
void fetch_set_validator(char to[FETCH_VALIDATOR_MAX], const char *value);
/* It is running no longer; `done` is called. */
void fetch_finish(struct fetch *fetch);

/* Where a URL that fetch_check_path() passed leads to, decoded. */
struct fetch_place {
    char *host; /* without brackets, with the zone */
    uint16_t port;
    char *path; /* as FTP and SFTP servers read it: see fetch_check_path() */
};

/* Without brackets, with the zone; for mem_free(). NULL: it has none. */
char *fetch_url_host(CURLU *url);
bool fetch_place_read(struct fetch_place *place, const char *url);
void fetch_place_clear(struct fetch_place *place);

#endif
