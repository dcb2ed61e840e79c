/* The helper: what is a request and what is not, and a process of its own that answers. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "base/log.h"
#include "helper/helper.h"
#include "helper/message.h"
#include "host/hook.h"
#include "net/low_port.h"

/* --- what is a request --- */

static struct helper_request good_nbd(void)
{
    struct helper_request request = {.op = HELPER_NBD_CONNECT, .fds = 2};
    const struct kernel_nbd nbd = {.index = 3, .size = 4096, .block_size = 512, .flags = 3, .backend = "nbd-proxy:cd"};
    helper_nbd_pack(&request.nbd, &nbd);
    return request;
}

static struct helper_request good_gadget(void)
{
    struct helper_request request = {.op = HELPER_GADGET_INSERT};
    const struct kernel_gadget gadget = {.name = "nbd-proxy-cd",
                                         .function = "0",
                                         .vendor_id = 0x1d6b,
                                         .product_id = 0x104,
                                         .manufacturer = "Fabricant é",
                                         .inquiry = "nbd-prxyVirtual CD/DVD      ",
                                         .max_power_ma = 100,
                                         .udc = "dummy* fe98*.usb",
                                         .cdrom = true};
    const struct kernel_medium medium = {.device = "/dev/nbd15", .read_only = true};
    helper_gadget_pack(&request.gadget, &gadget, &medium);
    return request;
}

static bool check(const struct helper_request *request)
{
    return helper_request_check(request, sizeof *request, request->fds);
}

static void what_is_packed_is_unpacked_and_a_request(void **state)
{
    (void)state;
    struct helper_request nbd = good_nbd(), gadget = good_gadget();
    struct kernel_nbd n;
    struct kernel_gadget g;
    struct kernel_medium m;
    assert_true(check(&nbd));
    assert_true(check(&gadget));
    helper_nbd_unpack(&nbd.nbd, &n);
    assert_int_equal(n.index, 3);
    assert_int_equal(n.size, 4096);
    assert_int_equal(n.flags, 3);
    assert_string_equal(n.backend, "nbd-proxy:cd");
    helper_gadget_unpack(&gadget.gadget, &g, &m);
    assert_string_equal(g.name, "nbd-proxy-cd");
    assert_string_equal(g.manufacturer, "Fabricant é");
    assert_string_equal(g.inquiry, "nbd-prxyVirtual CD/DVD      ");
    assert_string_equal(g.udc, "dummy* fe98*.usb");
    assert_true(g.cdrom && m.read_only && !m.cdrom && !g.always_present);
    assert_string_equal(m.device, "/dev/nbd15");
}

#define REFUSED(good, change)                                                                      \
    do {                                                                                           \
        struct helper_request r = good;                                                            \
        change;                                                                                    \
        assert_false(check(&r));                                                                   \
    } while (0)

static void what_has_another_form_is_none(void **state)
{
    (void)state;
    struct helper_request nbd = good_nbd();
    assert_false(helper_request_check(&nbd, sizeof nbd - 1, 2));
    assert_false(helper_request_check(&nbd, 0, 2));
    assert_false(helper_request_check(&nbd, sizeof nbd, 1));
    REFUSED(good_nbd(), r.op = HELPER_OPS);
    REFUSED(good_nbd(), r.op = UINT32_MAX);
    REFUSED(good_nbd(), r.fds = 0);
    REFUSED(good_nbd(), r.fds = KERNEL_CONNECTIONS_MAX + 1);
    REFUSED(good_nbd(), r.op = HELPER_NBD_DISCONNECT); /* which has no sockets */
    REFUSED(good_nbd(), r.nbd.index = 256);
    REFUSED(good_nbd(), r.nbd.block_size = 0);
    REFUSED(good_nbd(), r.nbd.block_size = 513);
    REFUSED(good_nbd(), r.nbd.block_size = 8192);
    REFUSED(good_nbd(), r.nbd.size = 4097);
    REFUSED(good_nbd(), r.nbd.size = 1ull << 63);
    REFUSED(good_nbd(), r.nbd.flags = 1u << 16);
    REFUSED(good_nbd(), r.nbd.timeout_s = UINT32_MAX);
    REFUSED(good_nbd(), strcpy(r.nbd.backend, "somebody:cd"));
    REFUSED(good_nbd(), strcpy(r.nbd.backend, "nbd-proxy:"));
    REFUSED(good_nbd(), memset(r.nbd.backend, 'a', sizeof r.nbd.backend));
}

static void no_path_gets_into_a_gadget(void **state)
{
    (void)state;
    REFUSED(good_gadget(), strcpy(r.gadget.name, ""));
    REFUSED(good_gadget(), strcpy(r.gadget.function, ""));
    REFUSED(good_gadget(), strcpy(r.gadget.function, "0/lun.0"));
    REFUSED(good_gadget(), strcpy(r.gadget.function, ".."));
    REFUSED(good_gadget(), memset(r.gadget.function, 'x', sizeof r.gadget.function));
    REFUSED(good_gadget(), strcpy(r.gadget.name, "nbd-proxy-../other"));
    REFUSED(good_gadget(), strcpy(r.gadget.name, "nbd-proxy-."));
    REFUSED(good_gadget(), strcpy(r.gadget.name, "nbd-proxy-a b"));
    REFUSED(good_gadget(), memcpy(r.gadget.name, "nbd-proxy-cd", 12); memset(r.gadget.name + 12, 'x', 52));
    REFUSED(good_gadget(), strcpy(r.gadget.udc, "../../x"));
    REFUSED(good_gadget(), strcpy(r.gadget.product, "two\nlines"));
    REFUSED(good_gadget(), memset(r.gadget.serial, 'x', sizeof r.gadget.serial));
    REFUSED(good_gadget(), r.gadget.device = 256);
    REFUSED(good_gadget(), r.gadget.cdrom = 2);
    REFUSED(good_gadget(), r.gadget.read_only = 256);
    REFUSED(good_gadget(), r.gadget.patience_ms = UINT32_MAX);
    REFUSED(good_gadget(), r.gadget.vendor_id = 1u << 16);
    REFUSED(good_gadget(), r.fds = 1);
}

static void other_requests_have_their_bounds(void **state)
{
    (void)state;
    struct helper_request hook = {.op = HELPER_HOOK, .fds = 2, .hook = {HOST_BOOT, 0, HOST_TARGET_CD, HOST_ONCE, HOST_MODE_UEFI}};
    struct helper_request password = {.op = HELPER_PASSWORD, .password = {"admin", "secret", "192.0.2.1"}};
    struct helper_request slot = {.op = HELPER_BMCWEB, .slot = 1};
    assert_true(check(&hook) && check(&password) && check(&slot));
    REFUSED(hook, r.hook.verb = HOST_BOOT + 1);
    REFUSED(hook, r.hook.reset = HOST_RESETS);
    REFUSED(hook, r.hook.target = HOST_TARGETS);
    REFUSED(hook, r.hook.enabled = HOST_ENABLEDS);
    REFUSED(hook, r.hook.mode = HOST_MODES);
    REFUSED(hook, r.fds = 1);
    REFUSED(password, *r.password.name = '\0');
    REFUSED(password, memset(r.password.password, 'x', sizeof r.password.password));
    REFUSED(password, strcpy(r.password.peer, "a\nb"));
    REFUSED(slot, r.slot = 1024);
    REFUSED(slot, r.fds = 1);
}

/* --- the process --- */

struct place {
    char folder[64], hook[80], next[80];
    struct helper_options options;
};

static struct place place;

/* In the helper: what the file `next` says. */
static bool read_next(struct helper_settings *settings, void *arg)
{
    (void)arg;
    FILE *file = fopen(place.next, "r");
    if (!file || !fgets(settings->hook, sizeof settings->hook, file))
        return false;
    fclose(file);
    return true;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static int set_up(void **state)
{
    (void)state;
    place = (struct place){.folder = "/tmp/test_helper_XXXXXX"};
    assert_non_null(mkdtemp(place.folder));
    snprintf(place.hook, sizeof place.hook, "%s/hook", place.folder);
    snprintf(place.next, sizeof place.next, "%s/next", place.folder);
    place.options.read = read_next;
    snprintf(place.options.settings.hook, sizeof place.options.settings.hook, "%s", place.hook);
    snprintf(place.options.settings.bmcweb_folder, sizeof place.options.settings.bmcweb_folder, "%s", place.folder);
    strcpy(place.options.settings.gadgets[3], "virtual_media");
    assert_int_equal(helper_begin(&place.options, NULL), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    helper_end();
    snprintf(command, sizeof command, "rm -rf %s", place.folder);
    return system(command);
}

static void calls_of_the_kernel_are_answered(void **state)
{
    (void)state;
    char error[KERNEL_ERROR_MAX] = "";
    struct kernel_nbd nbd = {.index = 255, .size = 4096, .block_size = 512, .backend = "nbd-proxy:unit-test", .count = 2};
    struct kernel_gadget gadget = {.name = "nbd-proxy-unit-test", .function = "0"};
    for (unsigned i = 0; i < nbd.count; i++)
        nbd.fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(helper_kernel.nbd_disconnect(255, nbd.backend, error), 0);
    assert_int_equal(helper_kernel.gadget_remove(&gadget, error), 0);
    assert_int_equal(helper_kernel.nbd_reconnect(&nbd, error), -ENODEV);
    assert_non_null(strstr(error, "/dev/nbd255 is not there any more"));
    for (unsigned i = 0; i < nbd.count; i++) {
        assert_true(fcntl(nbd.fds[i], F_GETFD) >= 0); /* ours are still open */
        close(nbd.fds[i]);
    }
    gadget.udc[0] = '/';
    assert_int_equal(helper_kernel.gadget_remove(&gadget, error), -EPIPE); /* no request, and so no answer */
    gadget.udc[0] = '\0';
    assert_int_equal(helper_kernel.gadget_remove(&gadget, error), 0);
}

static void only_gadgets_of_the_configuration_are_touched(void **state)
{
    (void)state;
    char error[KERNEL_ERROR_MAX] = "";
    struct kernel_gadget ours = {.name = "virtual_media", .function = "0"}, other = {.name = "other", .function = "0"};
    assert_int_equal(helper_kernel.gadget_remove(&ours, error), 0); /* it is not there */
    assert_int_equal(helper_kernel.gadget_remove(&other, error), -EPERM);
    assert_string_equal(error, "the gadget other is not the configuration's");
}

static void a_port_is_one_below_1024(void **state)
{
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM, 0), status, pair[2];
    while ((status = helper_low_port(fd)) == -EADDRINUSE)
        poll(NULL, 0, 100); /* connections of other tests are just ending */
    struct sockaddr_in address = {0};
    socklen_t length = sizeof address;
    if (fd >= 0 && low_port_bind(fd) == -EACCES) {
        assert_int_equal(status, -EACCES);
    } else {
        assert_int_equal(status, 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
        assert_in_range(ntohs(address.sin_port), 600, 1023);
    }
    close(fd);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(helper_low_port(pair[0]), -ENOTSOCK);
    close(pair[0]);
    close(pair[1]);
}

static void a_socket_of_bmcweb_is_connected(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    char byte = 0;
    snprintf(address.sun_path, sizeof address.sun_path, "%s/Slot_3.sock", place.folder);
    assert_int_equal(bind(server, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server, 1), 0);
    assert_int_equal(helper_connect_bmcweb(4), -ENOENT);
    int fd = helper_connect_bmcweb(3), accepted = accept(server, NULL, NULL);
    assert_true(fd >= 0 && accepted >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(read(accepted, &byte, 1), 1);
    assert_int_equal(byte, 'x');
    close(fd);
    close(accepted);
    close(server);
}

static struct hook_end run_hook(const struct host_request *request, char *said, size_t size)
{
    struct hook_end end;
    int out[2], err[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    int call = helper_start_hook("/bin/false", request, out[1], err[1]); /* the path is not what is run */
    assert_true(call >= 0);
    close(out[1]);
    close(err[1]);
    assert_int_equal(recv(call, &end, sizeof end, 0), sizeof end);
    ssize_t n = read(out[0], said, size - 1);
    said[n > 0 ? n : 0] = '\0';
    close(call);
    close(out[0]);
    close(err[0]);
    return end;
}

static void the_hook_is_the_configurations(void **state)
{
    (void)state;
    struct host_request request = {.verb = HOST_RESET, .reset = HOST_RESET_FORCE_RESTART};
    char said[64], text[160];
    struct hook_end end = run_hook(&request, said, sizeof said);
    assert_true(end.status < 0);
    assert_non_null(strstr(end.error, "can't be found"));
    write_file(place.hook, "#!/bin/sh\necho \"one: $*\"\nexit 3\n", 0700);
    end = run_hook(&request, said, sizeof said);
    assert_int_equal(end.status, 0);
    assert_int_equal(end.code, 3);
    assert_string_equal(said, "one: reset ForceRestart\n");
    assert_int_equal(chmod(place.hook, 0777), 0); /* it is looked at each time */
    end = run_hook(&request, said, sizeof said);
    assert_int_equal(end.status, -EACCES);
    assert_non_null(strstr(end.error, "may be written by others"));
    snprintf(text, sizeof text, "%s/other", place.folder);
    write_file(text, "#!/bin/sh\necho two\nkill -USR1 $$\n", 0700);
    write_file(place.next, text, 0600);
    helper_reload();
    end = run_hook(&request, said, sizeof said);
    assert_int_equal(end.killed_by, SIGUSR1);
    assert_string_equal(said, "two\n");
}

static void a_hook_can_be_ended(void **state)
{
    (void)state;
    struct host_request request = {.verb = HOST_GET};
    struct hook_end end;
    uint32_t other = SIGSTOP, number = SIGTERM;
    int out[2];
    char byte;
    write_file(place.hook, "#!/bin/sh\ntrap 'exit 7' TERM\nsleep 600 >/dev/null 2>&1 &\necho ready\nwait $!\n", 0700);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    int call = helper_start_hook(NULL, &request, out[1], out[1]);
    close(out[1]);
    assert_int_equal(read(out[0], &byte, 1), 1);
    assert_int_equal(send(call, &other, sizeof other, 0), sizeof other); /* no signal for it */
    assert_int_equal(send(call, &number, sizeof number, 0), sizeof number);
    assert_int_equal(recv(call, &end, sizeof end, 0), sizeof end);
    assert_int_equal(end.code, 7);
    close(call);
    close(out[0]);
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static void on_lost(void *arg)
{
    (*(int *)arg)++;
}

static pid_t its_pid(void)
{
    int pid = 0;
    FILE *file = fopen("/proc/thread-self/children", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &pid), 1);
    fclose(file);
    return pid;
}

static void its_end_is_told_and_fails_what_comes(void **state)
{
    (void)state;
    char error[KERNEL_ERROR_MAX] = "";
    uv_loop_t loop;
    uv_timer_t timer; /* what is watched keeps no loop alive */
    int lost = 0;
    assert_int_equal(uv_loop_init(&loop), 0);
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, on_tick, 1, 1);
    helper_watch(&loop, on_lost, &lost);
    kill(its_pid(), SIGTERM); /* which it ignores: the daemon's end is its own */
    assert_int_equal(helper_kernel.nbd_disconnect(255, "nbd-proxy:x", error), 0);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(lost, 0);
    kill(its_pid(), SIGKILL);
    while (!lost)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(helper_kernel.nbd_disconnect(255, "nbd-proxy:x", error), -EPIPE);
    assert_non_null(strstr(error, "the helper"));
    helper_unwatch();
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* --- what it does with what is no request --- */

static pid_t serve(int *channel)
{
    struct helper_hello hello;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(pair[0]);
        helper_serve(pair[1], &place.options);
    }
    close(pair[1]);
    *channel = pair[0];
    assert_int_equal(recv(*channel, &hello, sizeof hello, 0), sizeof hello);
    return pid;
}

static void send_with(int channel, const void *data, size_t size, const int *fds, unsigned count)
{
    union {
        char bytes[CMSG_SPACE(32 * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)data, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof *fds);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof *fds);
        memcpy(CMSG_DATA(header), fds, count * sizeof *fds);
    }
    assert_int_equal(sendmsg(channel, &message, 0), (ssize_t)size);
}

static unsigned open_files(pid_t pid)
{
    char command[64];
    unsigned count = 0;
    snprintf(command, sizeof command, "ls /proc/%d/fd | wc -l", (int)pid);
    FILE *out = popen(command, "r");
    assert_int_equal(fscanf(out, "%u", &count), 1);
    pclose(out);
    return count;
}

static void rubbish_does_nothing_and_leaves_nothing(void **state)
{
    (void)state;
    struct helper_request request = {.op = HELPER_NBD_DISCONNECT, .nbd = {.index = 255, .backend = "nbd-proxy:x"}};
    struct helper_reply reply;
    char large[4096] = {0};
    int channel, pair[2], many[20], status;
    pid_t pid = serve(&channel);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    for (int i = 0; i < 20; i++)
        many[i] = 2;
    send_with(channel, large, 1, NULL, 0);
    send_with(channel, large, sizeof large, many, 3);
    send_with(channel, &request, sizeof request, NULL, 0); /* no socket for the answer */
    send_with(channel, &request, sizeof request, many, 20);
    request.op = HELPER_SETTINGS;
    send_with(channel, &request, sizeof request, many, 1);
    request.op = HELPER_NBD_DISCONNECT;
    send_with(channel, &request, sizeof request, &pair[1], 1);
    assert_int_equal(recv(pair[0], &reply, sizeof reply, 0), sizeof reply);
    assert_int_equal(reply.status, 0);
    for (int i = 0; i < 2000 && open_files(pid) != 4; i++) /* its call's is closed behind the answer */
        poll(NULL, 0, 1);
    assert_int_equal(open_files(pid), 4);
    close(channel);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
#define PROCESS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_is_unpacked_and_a_request),
        cmocka_unit_test(what_has_another_form_is_none),
        cmocka_unit_test(no_path_gets_into_a_gadget),
        cmocka_unit_test(other_requests_have_their_bounds),
        PROCESS(calls_of_the_kernel_are_answered),
        PROCESS(only_gadgets_of_the_configuration_are_touched),
        PROCESS(a_port_is_one_below_1024),
        PROCESS(a_socket_of_bmcweb_is_connected),
        PROCESS(the_hook_is_the_configurations),
        PROCESS(a_hook_can_be_ended),
        PROCESS(its_end_is_told_and_fails_what_comes),
        cmocka_unit_test(rubbish_does_nothing_and_leaves_nothing),
    };
    alarm(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
