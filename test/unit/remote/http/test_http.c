/*
 * The HTTP source keeps the contract, against a server in a thread that answers
 * ranges, and now and then closes the connection or says 503.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../cmocka_all.h"
#include "../fetch_rig.h"
#include "../loopback.h"

static atomic_uint requests;

static bool answer(int fd, const char *request)
{
    uint64_t first, last;
    char head[256];
    unsigned number = ++requests, every = rig_trouble_every;
    const char *range = strcasestr(request, "\r\nRange: bytes=");
    if (!range || sscanf(range + 15, "%" SCNu64 "-%" SCNu64, &first, &last) != 2 || last >= RIG_SIZE || first > last)
        return false;
    if (every && number % every == 0)
        return number % 2 ? false : loopback_send(fd, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 41);
    snprintf(head, sizeof head,
             "HTTP/1.1 206 Partial Content\r\nContent-Length: %" PRIu64 "\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64
             "/%u\r\nETag: \"one\"\r\n\r\n",
             last - first + 1, first, last, RIG_SIZE);
    return loopback_send(fd, head, strlen(head)) && loopback_send(fd, rig_content + first, last - first + 1);
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char request[4096];
    size_t used = 0;
    for (;;) {
        ssize_t n = recv(fd, request + used, sizeof request - 1 - used, 0);
        if (n <= 0)
            break;
        used += (size_t)n;
        request[used] = '\0';
        if (!strstr(request, "\r\n\r\n"))
            continue;
        if (!answer(fd, request))
            break;
        used = 0;
    }
    close(fd);
    return NULL;
}

static int start(void **state)
{
    (void)state;
    return rig_start("http", serve);
}

static void http_keeps_the_contract(void **state)
{
    (void)state;
    rig_check_contract(false);
}

static void cached_http_keeps_the_contract(void **state)
{
    (void)state;
    rig_check_contract(true);
}

static void troubles_that_pass_are_not_seen(void **state)
{
    (void)state;
    rig_check_troubles(5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_keeps_the_contract),
        cmocka_unit_test(cached_http_keeps_the_contract),
        cmocka_unit_test(troubles_that_pass_are_not_seen),
    };
    return cmocka_run_group_tests(tests, start, rig_stop);
}
