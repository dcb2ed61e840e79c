/* An FTP server's replies, in pieces of any size: what is read from them is within bounds. */
#include <stdlib.h>
#include <string.h>

#include "remote/ftp/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct ftp_reply *reply)
{
    char time[32];
    uint64_t length;
    uint16_t port;
    if (reply->code < 100 || reply->code > 599 || strlen(reply->text) >= FTP_LINE_MAX)
        abort();
    if (ftp_parse_size(reply->text, &length) && length > INT64_MAX)
        abort();
    if (ftp_parse_time(reply->text, time, sizeof time) && (strlen(time) < 14 || time[strspn(time, "0123456789.")]))
        abort();
    if ((ftp_parse_epsv(reply->text, &port) && port == 0) || (ftp_parse_pasv(reply->text, &port) && port == 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ftp_reply reply;
    size_t taken, piece = size > 0 ? data[0] % 7 + 1 : 1;
    ftp_reply_init(&reply);
    for (size_t at = 0; at < size; at += taken) {
        enum ftp_fed fed = ftp_reply_feed(&reply, data + at, size - at < piece ? size - at : piece, &taken);
        if (taken == 0)
            abort();
        if (fed == FTP_GARBAGE)
            break;
        if (fed == FTP_REPLY)
            check(&reply);
    }
    return 0;
}
