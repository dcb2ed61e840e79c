/*
 * One range of a file on a server at a time, checked, by HTTP (remote/http/http.c, by libcurl), FTP
 * (remote/ftp/ftp.c) or SFTP (remote/sftp/sftp.c, by libssh2).
 *
 * HTTP: a range of bytes is only ever handed on if the answer was a 206 for exactly that
 * range, of that total size, with the same validators, unencoded, and of the exact
 * length (RFC 9110, 14 and 13.1.5). FTP and SFTP know no such answer: their files are told
 * apart by size and time, which are asked for again (see remote/lines.h).
 *
 * A probe gets a few bytes, follows HTTP's redirects one by one, and learns the size, the
 * validators and the URL that finally answered.
 */
#ifndef REMOTE_FETCH_H
#define REMOTE_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/list.h"
#include "remote/http/curl_loop.h"
#include "remote/http/guard.h"

#define FETCH_URL_MAX 8192
#define FETCH_ERROR_MAX 512
#define FETCH_VALIDATOR_MAX 256
#define FETCH_DISCARD_MAX (64u << 10) /* bytes of an error page that are read to keep the connection */

enum fetch_http { FETCH_HTTP_AUTO, FETCH_HTTP_1_1, FETCH_HTTP_2 };
enum fetch_tls { FETCH_TLS_NO, FETCH_TLS_TRY, FETCH_TLS_REQUIRED };
enum fetch_auth { FETCH_AUTH_ANY, FETCH_AUTH_BASIC, FETCH_AUTH_DIGEST };

/* Strings may be NULL or "" for none; they are copied. */
struct fetch_options {
    enum fetch_http http;
    bool allow_plain;   /* http:// beside https://; a redirect never leaves https */
    unsigned redirects; /* at most that many, probes only */
    bool verify;        /* the server's certificate and name, or its host key */
    const char *ca_file; /* in place of the system's; read by each connection */
    const char *ca_pem;  /* certificates in PEM, trusted beside those; the file is then read once, now */
    const char *client_cert, *client_key;
    const char *user, *password, *bearer_token;
    /* What the certificate and the SSH key, and the login, are for: an origin (remote/origin.h). NULL or "": the
     * server of the first URL. They are sent nowhere else, wherever redirects lead. */
    const char *key_origin, *login_origin;
    enum fetch_auth auth;
    bool by_time;      /* HTTP: Last-Modified tells versions apart, and the ETag does not */
    const char *proxy; /* HTTP only: with one, FTP and SFTP are refused */
    enum fetch_tls ftp_tls;      /* on ftp:// by AUTH TLS */
    const char *ssh_known_hosts; /* a file as OpenSSH has it; beside it or alone: */
    const char *ssh_host_key;    /* fingerprints, SHA256:..., separated by blanks */
    const char *ssh_key;         /* a file with our private key, without a pass phrase */
    enum address_local local; /* see remote/http/guard.h; a proxy may be anywhere */
    uint64_t connect_timeout_ms, stall_timeout_ms;
};

/* What a resource is. Empty validators: the server gave none. */
struct fetch_resource {
    char url[FETCH_URL_MAX];             /* that answers, redirects resolved */
    uint64_t size;
    char etag[FETCH_VALIDATOR_MAX];      /* as sent, quotes and W/ included */
    char modified[FETCH_VALIDATOR_MAX];  /* Last-Modified; FTP's MDTM, SFTP's mtime in seconds */
    unsigned long auth;                  /* CURLAUTH_ bits that it wants; 0: none */
    unsigned version;                    /* the owner counts it up when it changes the rest */
};

enum fetch_verdict {
    FETCH_OK,
    FETCH_TRANSIENT, /* may pass: no connection, a stall, a reset, 5xx, 429 */
    FETCH_MOVED,     /* the URL has moved or expired: probe again */
    FETCH_REFUSED,   /* the answer can't be used, or is not of this resource */
};

struct fetch {
    /* The result: valid in `done`, until the next start. */
    enum fetch_verdict verdict;
    int reason;                  /* not OK: a negative errno, if one says what it was; else 0 */
    bool busy;                   /* TRANSIENT: the server has no room for this one beside others */
    uint64_t retry_after_ms;     /* TRANSIENT: it wants to be left alone for so long; 0: it did not say */
    char error[FETCH_ERROR_MAX]; /* in words; no secrets */
    struct slices data;          /* OK: exactly the range; the callee may take it */
    uint64_t received;           /* bytes, also of a failure */
    uint64_t first_byte_us;      /* from the request sent to the first byte; 0: none came */
    struct fetch_resource found; /* probe: what was learnt */

    void *owner;
    void (*done)(struct fetch *fetch); /* from the loop; may start again or free */
    bool alone;                        /* HTTP/1.1: by a new connection, whatever there is */

    /* Internal. */
    struct curl_loop *curl;
    struct fetch_setup *setup;
    const struct fetch_protocol *protocol; /* NULL before the first start */
    void *state;                           /* the protocol's */
    struct fetch_line *line;               /* FTP, SFTP: the connection that it is or waits on */
    struct link link;                      /* FTP, SFTP: it waits for a connection, or to be told the end */
    const struct fetch_resource *expect;   /* NULL: a probe */
    uint64_t offset;
    uint32_t length, filled;
    bool probe, running;
};

/* What is common to all fetches of a source, made once. `url`: where they begin. */
struct fetch_setup *fetch_setup_new(const struct fetch_options *options, const char *url);
void fetch_setup_free(struct fetch_setup *setup);
/* How many of `wanted` ranges at a time the URL's protocol makes use of. */
unsigned fetch_connections(const char *url, unsigned wanted);
/* Whether this build speaks the protocol of that name ("sftp"). */
bool fetch_speaks(const char *scheme);
/* What FTP and SFTP, whose paths go to the server as they are decoded, want of a URL that remote/image_location
 * passed: no control characters, no query, and the name of a file. A path of FTP is relative to
 * the folder of the login (RFC 1738, 3.2.2: %2F at its beginning makes it absolute), SFTP's is absolute
 * but for "/~/". On failure `error` says what to do. */
bool fetch_check_path(const char *url, char *error, size_t size);

/* `setup` must outlive it. */
struct fetch *fetch_new(struct curl_loop *curl, struct fetch_setup *setup);
void fetch_probe(struct fetch *fetch, const char *url);
/* `resource` must live until done. */
void fetch_range(struct fetch *fetch, const struct fetch_resource *resource, uint64_t offset, uint32_t length);
bool fetch_running(const struct fetch *fetch);
void fetch_cancel(struct fetch *fetch); /* `done` does not come */
void fetch_free(struct fetch *fetch);

#endif
