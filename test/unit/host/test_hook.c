/* The platform's hook: how its process is run, what is taken from it, how it is ended. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "base/log.h"
#include "host/hook.h"
#include "host_rig.h"

#define GET                                                                                                            \
    "test \"$1\" != get || { echo PowerState On; echo ResetTypes On ForceRestart; echo BootTargets Cd; exit 0; }\n"

static void expect_words(const struct asked *asked, int status, const char *words)
{
    assert_int_equal(asked->request.status, status);
    if (!strstr(asked->request.error, words))
        fail_msg("\"%s\" does not say \"%s\"", asked->request.error, words);
}

static void reset_fails(struct rig *rig, const char *body, int status, const char *words)
{
    struct asked asked;
    char script[512];
    snprintf(script, sizeof script, GET "%s", body);
    rig_hook(rig, script);
    if (!rig->host)
        rig_start(rig, 20000, true);
    rig_do(rig, &asked, &(struct host_request){.verb = HOST_RESET, .reset = HOST_RESET_FORCE_RESTART});
    expect_words(&asked, status, words);
}

/* --- how it runs --- */

static void it_gets_the_verb_and_its_parameters(void **state)
{
    struct rig *rig = *state;
    rig_hook(rig, GET);
    rig_start(rig, 20000, true);
    assert_int_equal(host_get_state(rig->host)->power, HOST_POWER_ON);
    assert_int_equal(rig_reset(rig, HOST_RESET_FORCE_RESTART), 0);
    assert_int_equal(rig_boot(rig, HOST_TARGET_CD, HOST_ONCE), 0);
    rig_expect_file(rig, "calls", "get\nreset ForceRestart\nboot Cd Once\n");
}

static void it_has_a_fixed_environment_and_nothing_open(void **state)
{
    struct rig *rig = *state;
    int open = dup(2); /* without FD_CLOEXEC */
    setenv("CANARY", "1", 1);
    rig_hook(rig, "tr '\\0' '\\n' </proc/$$/environ | sort >environment\n"
                  "ls /proc/self/fd >open\n" /* its fourth is the folder */
                  "readlink /proc/$$/fd/0 >stdin\n"
                  "echo said >/dev/stderr\n"
                  "echo PowerState Off >/dev/stdout\n"
                  "sed -n 's/^SigIgn:[[:space:]]*//p' /proc/$$/status >ignored\n"
                  "sed 's/.*) . //' /proc/$$/stat | cut -d' ' -f2,3 >groups; echo $$ $$ >group");
    signal(SIGPIPE, SIG_IGN); /* as the daemon has it */
    rig_start(rig, 20000, true);
    signal(SIGPIPE, SIG_DFL);
    assert_int_equal(host_get_state(rig->host)->power, HOST_POWER_OFF);
    rig_expect_file(rig, "environment", "LC_ALL=C\nPATH=" HOOK_PATH "\n");
    rig_expect_file(rig, "open", "0\n1\n2\n3\n");
    rig_expect_file(rig, "stdin", "/dev/null\n");
    char *ignored = rig_read(rig, "ignored");
    assert_int_equal(strlen(ignored), 17);
    assert_int_equal(strtoull(ignored, NULL, 16) & (1ull << (SIGPIPE - 1)), 0);
    free(ignored);
    char *group = rig_read(rig, "group");
    rig_expect_file(rig, "groups", group);
    free(group);
    unsetenv("CANARY");
    close(open);
}

/* --- how it fails --- */

static void its_exit_code_is_the_result(void **state)
{
    reset_fails(*state, "exit 64", -ENOTSUP, "\"reset ForceRestart\" ended with 64");
    reset_fails(*state, "echo the button is in use >&2; exit 75", -EAGAIN, "ended with 75: the button is in use");
    reset_fails(*state, "exit 1", -EIO, "ended with 1");
    reset_fails(*state, "kill -9 $$", -EIO, "killed by signal 9");
    assert_int_equal(rig_get(*state), 0);
}

static void its_last_words_are_told_and_harmless(void **state)
{
    reset_fails(*state, "printf 'first\\nsecond\\033[31m\\n' >&2; exit 1", -EIO, "ended with 1: second\\x1b[31m");
    reset_fails(*state, "printf 'no end of line' >&2; exit 1", -EIO, "ended with 1: no end of line");
    reset_fails(*state, "head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1", -EIO, "ended with 1: xxxx");
    reset_fails(*state, "seq 1 5000 >&2; exit 1", -EIO, "ended with 1: 5000");
}

static void one_that_can_not_be_started(void **state)
{
    struct rig *rig = *state;
    struct asked asked;
    rig_hook(rig, GET);
    rig_start(rig, 20000, true);
    rig_remove(rig, "hook");
    rig_do(rig, &asked, &(struct host_request){.verb = HOST_RESET, .reset = HOST_RESET_ON});
    expect_words(&asked, -EIO, "can't be started: no such file or directory");
    rig_hook(rig, GET);
    assert_int_equal(rig_reset(rig, HOST_RESET_ON), 0);
}

static void an_answer_without_end_is_refused(void **state)
{
    struct rig *rig = *state;
    struct asked asked;
    rig_hook(rig, "yes PowerState On");
    rig_start(rig, 20000, false);
    rig_do(rig, &asked, &(struct host_request){.verb = HOST_GET});
    expect_words(&asked, -EPROTO, "has more than 4096 bytes");
    rig_hook(rig, "printf 'PowerState On\\0'");
    rig_pass(rig, HOST_FRESH_MS + 100);
    rig_do(rig, &asked, &(struct host_request){.verb = HOST_GET});
    expect_words(&asked, -EPROTO, "NUL");
    rig_hook(rig, "echo PowerState Maybe");
    rig_pass(rig, HOST_FRESH_MS + 100);
    rig_do(rig, &asked, &(struct host_request){.verb = HOST_GET});
    expect_words(&asked, -EPROTO, "PowerState: Maybe");
    assert_false(host_get_state(rig->host)->known);
}

/* --- how it is ended --- */

static bool is_alive(struct rig *rig, const char *file)
{
    char *text = rig_read(rig, file);
    int pid = atoi(text);
    free(text);
    assert_true(pid > 1);
    return kill(pid, 0) == 0;
}

static uint64_t timed_out(struct rig *rig, const char *body)
{
    struct asked asked;
    uint64_t begin = uv_hrtime();
    char script[512];
    snprintf(script, sizeof script, GET "%s", body);
    rig_hook(rig, script);
    rig_start(rig, 1000, true);
    rig_do(rig, &asked, &(struct host_request){.verb = HOST_RESET, .reset = HOST_RESET_ON});
    expect_words(&asked, -ETIMEDOUT, "\"reset On\" was ended since it took longer than 1s (host-timeout)");
    return (uv_hrtime() - begin) / 1000000;
}

static void one_that_takes_too_long_is_told_to_end(void **state)
{
    struct rig *rig = *state;
    uint64_t took = timed_out(rig, "trap 'echo released >button; exit 0' TERM\nsleep 60 & wait");
    assert_in_range(took, 900, 30000);
    rig_expect_file(rig, "button", "released\n");
}

static void one_that_does_not_listen_is_killed_with_what_it_started(void **state)
{
    struct rig *rig = *state;
    uint64_t took = timed_out(rig, "trap '' TERM\nsleep 60 & echo $! >child; echo $$ >self; wait; sleep 60");
    assert_in_range(took, 900 + HOOK_KILL_MS, 30000);
    assert_false(is_alive(rig, "self"));
    for (int i = 0; i < 100 && is_alive(rig, "child"); i++)
        rig_pass(rig, 20); /* until somebody has waited for it */
    assert_false(is_alive(rig, "child"));
}

static void what_it_leaves_in_the_background_is_not_waited_for(void **state)
{
    struct rig *rig = *state;
    uint64_t begin = uv_hrtime();
    rig_hook(rig, GET "sleep 20 & echo $! >child");
    rig_start(rig, 60000, true);
    assert_int_equal(rig_reset(rig, HOST_RESET_ON), 0);
    assert_true(uv_hrtime() - begin < 15000000000ull);
    assert_true(is_alive(rig, "child"));
    char *text = rig_read(rig, "child");
    kill(atoi(text), SIGKILL);
    free(text);
}

static void the_end_of_the_daemon_ends_it(void **state)
{
    struct rig *rig = *state;
    struct asked running, waiting;
    unsigned began = 0;
    rig_hook(rig, GET "echo $$ >self; sleep 60");
    rig_start(rig, 60000, true);
    rig_ask(rig, &running, &(struct host_request){.verb = HOST_RESET, .reset = HOST_RESET_ON});
    rig_ask(rig, &waiting, &(struct host_request){.verb = HOST_RESET, .reset = HOST_RESET_ON});
    while (!began) {
        char *text = rig_read(rig, "self");
        began = strchr(text, '\n') != NULL;
        free(text);
        rig_pass(rig, 20);
    }
    assert_int_equal(running.done + waiting.done, 0);
    rig_close(rig);
    assert_int_equal(running.done, 1);
    assert_int_equal(waiting.done, 1);
    assert_int_equal(running.request.status, -ECANCELED);
    assert_int_equal(waiting.request.status, -ECANCELED);
    assert_false(is_alive(rig, "self"));
    struct asked late;
    assert_int_equal(rig_do(rig, &late, &(struct host_request){.verb = HOST_GET}), -ECANCELED);
}

/* --- which files are hooks --- */

static void expect_file_check(const char *path, const char *words)
{
    char error[HOST_ERROR_MAX] = "";
    bool good = hook_file_check(path, error);
    assert_int_equal(good, words == NULL);
    if (words && !strstr(error, words))
        fail_msg("\"%s\" does not say \"%s\"", error, words);
}

static void nobody_else_can_change_it(void **state)
{
    struct rig *rig = *state;
    char inner[128], link[120], folder[100];
    rig_hook(rig, "exit 0");
    expect_file_check(rig->hook, NULL);
    expect_file_check("hook", "give an absolute path");
    expect_file_check("/nonexistent/hook", "can't be found: No such file");
    expect_file_check(rig->folder, "is not a regular file");
    expect_file_check("/dev/null", "is not a regular file");
    static const struct {
        mode_t mode;
        const char *words;
    } modes[] = {{0720, "may be written by others (chmod go-w"},
                 {0702, "may be written by others"},
                 {0600, "can't be executed (chmod +x"},
                 {0755, NULL}};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        assert_int_equal(chmod(rig->hook, modes[i].mode), 0);
        expect_file_check(rig->hook, modes[i].words);
    }
    snprintf(folder, sizeof folder, "%s/open", rig->folder);
    snprintf(inner, sizeof inner, "%s/hook", folder);
    snprintf(link, sizeof link, "%s/link", rig->folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(rename(rig->hook, inner), 0);
    assert_int_equal(symlink(inner, link), 0);
    expect_file_check(link, NULL);
    assert_int_equal(chmod(folder, 0777), 0);
    expect_file_check(inner, "to which everybody may write");
    expect_file_check(link, "to which everybody may write");
    assert_int_equal(chmod(folder, 0770), 0);
    expect_file_check(inner, "to which its group may write (chmod o-w,g-w");
    expect_file_check(link, "to which its group may write");
    assert_int_equal(chmod(rig->folder, 0720), 0); /* further up too */
    assert_int_equal(chmod(folder, 0700), 0);
    expect_file_check(inner, "to which its group may write");
    assert_int_equal(chmod(rig->folder, 0700), 0);
    assert_int_equal(chmod(folder, 01770), 0);
    expect_file_check(inner, NULL);
    assert_int_equal(chmod(folder, 01777), 0);
    expect_file_check(inner, NULL);
    if (geteuid() == 0) {
        assert_int_equal(chown(inner, 12345, 0), 0);
        expect_file_check(inner, "belongs to another user");
        assert_int_equal(chown(inner, 0, 0), 0);
        assert_int_equal(chown(folder, 12345, 0), 0);
        expect_file_check(inner, "which belongs to another user");
    }
}

/* --- its answer --- */

static void expect_answer(const char *text, const char *wanted)
{
    struct host_state state;
    char copy[512], error[HOST_ERROR_MAX], again[HOST_TEXT_MAX];
    snprintf(copy, sizeof copy, "%s", text);
    if (!hook_answer_parse(copy, &state, error))
        fail_msg("%s: %s", text, error);
    host_state_text(&state, again);
    assert_string_equal(again, wanted);
}

static void answers_are_lines_of_a_key_and_values(void **state)
{
    (void)state;
    expect_answer("", "PowerState Unknown\n");
    expect_answer("\n\nPowerState\tOff \r\n\n", "PowerState Off\n");
    expect_answer("BootModes\nResetTypes\nNews from later\nPowerState Paused", "PowerState Paused\n");
    static const char all[] = "PowerState PoweringOn\nBoot BiosSetup Continuous Legacy\n"
                              "ResetTypes On ForceOn ForceOff GracefulShutdown GracefulRestart ForceRestart PowerCycle "
                              "PushPowerButton Nmi\n"
                              "BootTargets None Pxe Floppy Cd Usb Hdd BiosSetup Utilities Diags SDCard\n"
                              "BootModes UEFI Legacy\n";
    expect_answer(all, all);
}

static void what_is_wrong_in_an_answer_is_told(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "PowerState",          "PowerState on",       "PowerState On Off",  "Boot Cd",          "Boot Once Cd",
        "Boot Cd Once UEFI x", "ResetTypes On Again", "BootTargets Cd\033", "BootModes Unknown"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct host_state parsed;
        char copy[64], key[32], error[HOST_ERROR_MAX] = "";
        snprintf(copy, sizeof copy, "%s", bad[i]);
        snprintf(key, sizeof key, "%.*s", (int)strcspn(bad[i], " "), bad[i]);
        assert_false(hook_answer_parse(copy, &parsed, error));
        assert_non_null(strstr(error, key));
        assert_null(strchr(error, '\033'));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_gets_the_verb_and_its_parameters),
        TEST(it_has_a_fixed_environment_and_nothing_open),
        TEST(its_exit_code_is_the_result),
        TEST(its_last_words_are_told_and_harmless),
        TEST(one_that_can_not_be_started),
        TEST(an_answer_without_end_is_refused),
        TEST(one_that_takes_too_long_is_told_to_end),
        TEST(one_that_does_not_listen_is_killed_with_what_it_started),
        TEST(what_it_leaves_in_the_background_is_not_waited_for),
        TEST(the_end_of_the_daemon_ends_it),
        TEST(nobody_else_can_change_it),
        cmocka_unit_test(answers_are_lines_of_a_key_and_values),
        cmocka_unit_test(what_is_wrong_in_an_answer_is_told),
    };
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR - 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
