/* What is read of the usages in the commands' table. */
#include "../cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "ctl/ctl_usage.h"
#include "ctl/ctl_watch.h"

#define INSERT "insert SLOT URL|config=FILE [user=U] [verify=yes|no] [dry-run] [reset[=TYPE]]"
#define HOST   "host status | host reset TYPE | host boot TARGET [Once|Continuous|Disabled] [UEFI|Legacy]"

static char told[512];

static void tell(void *arg, const char *text)
{
    (void)arg;
    strcat(strcat(told, text), ";");
}

static const char *place(const char *usage, int count, char **words)
{
    *told = '\0';
    ctl_usage_place(usage, count, words, tell, NULL);
    return told;
}

static void options_are_those_in_brackets(void **state)
{
    (void)state;
    const char *at = INSERT;
    struct ctl_option option;
    *told = '\0';
    while (ctl_usage_next_option(&at, &option)) {
        char text[200];
        snprintf(text, sizeof text, "%d %s %s", (int)option.kind, option.name, option.value);
        tell(NULL, text);
    }
    assert_string_equal(told, "1 user U;1 verify yes|no;0 dry-run ;2 reset TYPE;");
    at = HOST; /* what may be missing there is no option */
    assert_false(ctl_usage_next_option(&at, &option));
    assert_true(ctl_usage_find_option("quit [--keep]", "keep", 4, &option));
    assert_true(option.dashed && option.kind == CTL_FLAG);
    assert_false(ctl_usage_find_option(INSERT, "use", 3, &option));
    assert_false(ctl_usage_find_option("x [broken", "broken", 6, &option));
}

static void a_place_is_what_may_stand_there(void **state)
{
    (void)state;
    assert_string_equal(place(INSERT, 0, NULL), "SLOT;");
    assert_string_equal(place(INSERT, 1, (char *[]){"cd"}), "URL|config=FILE;");
    assert_string_equal(place(INSERT, 2, (char *[]){"cd", "/x"}), "");
    assert_string_equal(place(HOST, 0, NULL), "status;reset;boot;");
    assert_string_equal(place(HOST, 1, (char *[]){"boot"}), "TARGET;");
    assert_string_equal(place(HOST, 3, (char *[]){"boot", "Cd", "Once"}), "UEFI|Legacy;");
    assert_string_equal(place(HOST, 1, (char *[]){"bogus"}), "");
    assert_string_equal(place("trace on|off [SLOT]", 0, NULL), "on|off;");
    assert_string_equal(place("trace on|off [SLOT]", 1, (char *[]){"on"}), "SLOT;");
    assert_string_equal(place("cache", 0, NULL), "");
}

static void a_line_is_drawn_to_fit(void **state)
{
    (void)state;
    char text[512];
    static const char ready[] = "{\"name\":\"slot0\",\"state\":\"ready\",\"image_name\":\"a.iso\",\"size\":4194304,\"covered\":1048576,"
                                "\"rate\":2097152,\"mean_rate\":1048576,\"waiting\":3,\"reads\":200,\"reads_waited\":24,\"rtt_us\":50000,\"error\":null,\"next_try_ms\":null}";
    assert_true(ctl_watch_draw(ready, 120, text, sizeof text));
    assert_string_equal(text, "slot0 a.iso [#######---------------------] 25 % of 4.0 MiB  2.0 MiB/s  3 waiting  mean 1.0 MiB/s  12 % waited  rtt 50 ms");
    assert_true(ctl_watch_draw(ready, 20, text, sizeof text));
    assert_string_equal(text, "slot0 a.iso  25 % of");
    assert_true(ctl_watch_draw("{\"name\":\"cd\",\"state\":\"empty\",\"error\":\"it \\u001b[2J went\"}", 80, text, sizeof text));
    assert_string_equal(text, "cd empty: it \\x1b[2J went");
    assert_true(ctl_watch_draw("{\"name\":\"cd\",\"state\":\"empty\",\"next_try_ms\":1500}", 80, text, sizeof text));
    assert_string_equal(text, "cd empty, tries again in 2 s");
    static const char waits[] = "{\"name\":\"cd\",\"state\":\"ready\",\"trouble\":\"the host waits for data, 7 s\"}";
    assert_true(ctl_watch_draw(waits, 80, text, sizeof text));
    assert_string_equal(text, "cd ready, the host waits for data, 7 s");
    assert_false(ctl_watch_draw("[1]", 80, text, sizeof text));
    assert_false(ctl_watch_draw("", 80, text, sizeof text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_those_in_brackets),
        cmocka_unit_test(a_place_is_what_may_stand_there),
        cmocka_unit_test(a_line_is_drawn_to_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
