/*
 * The source keeps the contract by FTP too, against a server in threads that hangs up now and
 * then; what it reads is right all the same.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../cmocka_all.h"
#include "../fetch_rig.h"
#include "../loopback.h"

static atomic_uint transfers;

struct session {
    int control, passive;
    uint64_t offset;
};

static bool say(struct session *s, const char *text)
{
    return loopback_send(s->control, text, strlen(text));
}

static bool enter_passive(struct session *s)
{
    char text[64];
    uint16_t port;
    if (s->passive >= 0)
        close(s->passive);
    s->passive = loopback_listen(&port);
    snprintf(text, sizeof text, "229 ok (|||%u|)\r\n", port);
    return say(s, text);
}

/* Each so-manieth transfer is cut short, with the control connection or without. */
static bool transfer(struct session *s)
{
    unsigned number = ++transfers, every = rig_trouble_every;
    int data = accept(s->passive, NULL, NULL);
    size_t length = RIG_SIZE - s->offset;
    bool trouble = every && number % every == 0, whole;
    close(s->passive);
    s->passive = -1;
    if (data < 0 || !say(s, "150 here\r\n"))
        return false;
    whole = loopback_send(data, rig_content + s->offset, trouble ? length / 3 : length) && !trouble;
    close(data);
    s->offset = 0;
    return (!trouble || number % 2) && say(s, whole ? "226 done\r\n" : "426 cut\r\n");
}

static bool obey(struct session *s, const char *line)
{
    char text[64];
    if (strncmp(line, "SIZE ", 5) == 0) {
        snprintf(text, sizeof text, "213 %u\r\n", RIG_SIZE);
        return say(s, text);
    }
    if (strncmp(line, "REST ", 5) == 0) {
        s->offset = strtoull(line + 5, NULL, 10);
        return say(s, "350 ok\r\n");
    }
    if (strcmp(line, "EPSV") == 0)
        return enter_passive(s);
    if (strcmp(line, "RETR image") == 0)
        return transfer(s);
    if (strncmp(line, "MDTM ", 5) == 0)
        return say(s, "213 20240102030405\r\n");
    if (strncmp(line, "USER ", 5) == 0 || strcmp(line, "TYPE I") == 0)
        return say(s, "200 ok\r\n");
    return say(s, "502 no\r\n");
}

static void *serve(void *arg)
{
    struct session s = {(int)(intptr_t)arg, -1, 0};
    char text[4096], *end;
    size_t used = 0;
    bool on = say(&s, "220-hello\r\n220 ready\r\n");
    while (on) {
        ssize_t n = recv(s.control, text + used, sizeof text - 1 - used, 0);
        if (n <= 0)
            break;
        used += (size_t)n;
        text[used] = '\0';
        while (on && (end = strstr(text, "\r\n"))) {
            *end = '\0';
            on = obey(&s, text);
            used -= (size_t)(end + 2 - text);
            memmove(text, end + 2, used + 1);
        }
    }
    if (s.passive >= 0)
        close(s.passive);
    close(s.control);
    return NULL;
}

static int start(void **state)
{
    (void)state;
    return rig_start("ftp", serve);
}

static void ftp_keeps_the_contract(void **state)
{
    (void)state;
    rig_check_contract(false);
}

static void cached_ftp_keeps_the_contract(void **state)
{
    (void)state;
    rig_check_contract(true);
}

static void troubles_that_pass_are_not_seen(void **state)
{
    (void)state;
    rig_check_troubles(3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ftp_keeps_the_contract),
        cmocka_unit_test(cached_ftp_keeps_the_contract),
        cmocka_unit_test(troubles_that_pass_are_not_seen),
    };
    return cmocka_run_group_tests(tests, start, rig_stop);
}
