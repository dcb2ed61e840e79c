#include "remote/ftp/reply.h"

#include <stdio.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* --- replies --- */

void ftp_reply_init(struct ftp_reply *reply)
{
    memset(reply, 0, sizeof *reply);
}

/* 0: it does not begin with a code. */
static unsigned line_code(const char *line)
{
    if (line[0] < '1' || line[0] > '5' || !is_digit(line[1]) || !is_digit(line[2]))
        return 0;
    if (line[3] && line[3] != ' ' && line[3] != '-')
        return 0;
    return (unsigned)(line[0] - '0') * 100 + (unsigned)(line[1] - '0') * 10 + (unsigned)(line[2] - '0');
}

static void first_line(struct ftp_reply *reply, unsigned code)
{
    reply->code = code;
    snprintf(reply->text, sizeof reply->text, "%s", reply->line[3] ? reply->line + 4 : "");
}

static enum ftp_fed end_reply(struct ftp_reply *reply)
{
    reply->open = 0;
    reply->total = 0;
    return FTP_REPLY;
}

static enum ftp_fed ftp_reply_take_line(struct ftp_reply *reply)
{
    if (reply->used > 0 && reply->line[reply->used - 1] == '\r')
        reply->used--;
    reply->line[reply->used] = '\0';
    reply->used = 0;
    unsigned code = line_code(reply->line);
    if (reply->open)
        return code == reply->open && reply->line[3] != '-' ? end_reply(reply) : FTP_MORE;
    if (code == 0)
        return FTP_GARBAGE;
    first_line(reply, code);
    if (reply->line[3] != '-')
        return end_reply(reply);
    reply->open = code;
    return FTP_MORE;
}

enum ftp_fed ftp_reply_feed(struct ftp_reply *reply, const uint8_t *data, size_t length, size_t *taken)
{
    enum ftp_fed fed = FTP_MORE;
    size_t i = 0;
    while (i < length && fed == FTP_MORE) {
        char c = (char)data[i++];
        if (++reply->total > FTP_REPLY_MAX)
            fed = FTP_GARBAGE;
        else if (c == '\n')
            fed = ftp_reply_take_line(reply);
        else if (reply->used < sizeof reply->line - 1)
            reply->line[reply->used++] = c;
    }
    *taken = i;
    return fed;
}

/* --- what is in them --- */

/* Digits; moves past them. */
static bool ftp_reply_number(const char **text, uint64_t most, uint64_t *value)
{
    const char *p = *text;
    uint64_t n = 0;
    for (; is_digit(*p); p++) {
        unsigned digit = (unsigned)(*p - '0');
        if (n > (most - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    bool some = p > *text;
    *text = p;
    *value = n;
    return some;
}

static bool only_blanks(const char *text)
{
    return text[strspn(text, " \t")] == '\0';
}

bool ftp_parse_size(const char *text, uint64_t *size)
{
    text += strspn(text, " ");
    return ftp_reply_number(&text, INT64_MAX, size) && only_blanks(text);
}

bool ftp_parse_time(const char *text, char *time, size_t size)
{
    text += strspn(text, " ");
    size_t digits = strspn(text, "0123456789"), length = digits;
    if (digits < 14 || digits > 15) /* some have written the year 2000 as 19100 */
        return false;
    if (text[length] == '.')
        length += 1 + strspn(text + length + 1, "0123456789");
    if (!only_blanks(text + length) || length >= size)
        return false;
    snprintf(time, size, "%.*s", (int)length, text);
    return true;
}

/* (|||PORT|), with any character in place of the bar. */
bool ftp_parse_epsv(const char *text, uint16_t *port)
{
    uint64_t value;
    const char *p = strrchr(text, '(');
    if (!p || p[1] < 33 || p[1] > 126 || is_digit(p[1]) || p[2] != p[1] || p[3] != p[1])
        return false;
    char bar = p[1];
    p += 4;
    if (!ftp_reply_number(&p, UINT16_MAX, &value) || value == 0 || p[0] != bar || p[1] != ')')
        return false;
    *port = (uint16_t)value;
    return true;
}

/* h1,h2,h3,h4,p1,p2, in whatever text. */
bool ftp_parse_pasv(const char *text, uint16_t *port)
{
    uint64_t part[6];
    const char *p = text + strcspn(text, "0123456789");
    for (unsigned i = 0; i < 6; i++) {
        if ((i > 0 && *p++ != ',') || !ftp_reply_number(&p, 255, &part[i]))
            return false;
    }
    *port = (uint16_t)(part[4] * 256 + part[5]);
    return *port > 0;
}
