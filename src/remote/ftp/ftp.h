/*
 * An image on an FTP server (RFC 959; EPSV RFC 2428; REST, SIZE and MDTM RFC 3659; TLS RFC 4217): a client of
 * remote/remote.h by lines (remote/lines.h).
 *
 * It is our own on net/stream, not libcurl's: libcurl logs in anew for each range, and waits in the loop for the reply to a
 * transfer that was cut (5 s measured). Here a login serves all ranges, and a range that begins where the one before
 * ended costs no request at all.
 */
#ifndef REMOTE_FTP_FTP_H
#define REMOTE_FTP_FTP_H

#include "remote/lines.h"

#define FTP_REQUESTS_MAX (2 * LINES_MAX) /* useful ranges at a time: a line streams one, the next waits behind it */

enum ftp_security { FTP_SECURITY_NONE, FTP_SECURITY_TRIED, FTP_SECURITY_REQUIRED };

/* Strings may be NULL or "" for none; they are copied. */
struct ftp_options {
    struct lines_options lines;
    enum ftp_security security;   /* on ftp:// by AUTH TLS; ftps:// is TLS from the start */
    bool verify;                 /* the server's certificate and name */
    const char *ca_file, *ca_pem; /* see net/tls_trust.h */
    const char *client_cert, *client_key;
    unsigned connections; /* ranges in flight; more than FTP_REQUESTS_MAX are not made use of */
};

struct source *ftp_source_new(uv_loop_t *loop, const char *who, const struct ftp_options *options);

#endif
