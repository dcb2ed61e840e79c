/* The base layer: bytes and slices, deferral, closing, work, text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "../cmocka_all.h"
#include "base/bytes.h"
#include "base/closing.h"
#include "base/defer.h"
#include "base/jitter.h"
#include "base/log.h"
#include "base/text.h"
#include "base/trouble.h"
#include "base/wipe.h"
#include "base/work.h"

static unsigned released;

static void on_release(struct budget *budget)
{
    (void)budget;
    released++;
}

static void budget_counts_until_the_last_reference(void **state)
{
    (void)state;
    struct budget budget = {.on_release = on_release};
    struct slices list;
    slices_init(&list);
    struct bytes *bytes = bytes_new(1000);
    bytes_charge(bytes, &budget);
    assert_int_equal(budget.live, 1000);
    slices_add(&list, bytes, 10, 20);
    bytes_unref(bytes);
    assert_int_equal(budget.live, 1000);
    slices_clear(&list);
    assert_int_equal(budget.live, 0);
    assert_int_equal(released, 1);
}

static void slices_merge_and_move(void **state)
{
    (void)state;
    struct slices a, b;
    slices_init(&a);
    slices_init(&b);
    struct bytes *bytes = bytes_new(100);
    slices_add(&a, bytes, 0, 50);
    slices_add(&a, bytes, 50, 50);
    assert_int_equal(a.count, 1);
    for (unsigned i = 0; i < 20; i++)
        slices_add(&b, bytes, 2 * i, 1);
    assert_int_equal(b.count, 20);
    slices_take(&a, &b);
    assert_int_equal(a.count, 21);
    assert_int_equal(a.length, 120);
    assert_int_equal(b.count, 0);
    bytes_unref(bytes);
    slices_clear(&a);
}

static void slices_copy_across_pieces(void **state)
{
    (void)state;
    struct slices list;
    unsigned char in[1000], out[1000];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)(i * 7);
    slices_init(&list);
    slices_alloc(&list, sizeof in, 64);
    for (size_t at = 0; at < sizeof in; at += 100)
        slices_copy_in(&list, at, in + at, 100);
    slices_zero(&list, 130, 200);
    memset(in + 130, 0, 200);
    slices_copy_out(&list, 0, out, sizeof out);
    assert_memory_equal(in, out, sizeof in);
    slices_clear(&list);
}

struct counter {
    struct defer defer;
    struct closing closing;
    uv_loop_t *loop;
    int runs, again, closed;
    struct work work;
};

static void on_defer(struct defer *defer)
{
    struct counter *counter = container_of(defer, struct counter, defer);
    counter->runs++;
    if (counter->again-- > 0)
        defer_schedule(counter->loop, defer);
}

static void slices_are_split_anywhere(void **state)
{
    (void)state;
    for (uint64_t at = 0; at <= 12; at++) {
        struct slices head, tail;
        char text[13] = "";
        slices_init(&head);
        slices_init(&tail);
        slices_add_copy(&tail, "one", 3);
        slices_add_copy(&tail, "", 0);
        slices_add_copy(&tail, "two", 3);
        slices_add_copy(&tail, "threes", 6);
        slices_move(&head, &tail, at);
        assert_int_equal(head.length, at);
        assert_int_equal(tail.length, 12 - at);
        slices_copy_out(&head, 0, text, head.length);
        slices_copy_out(&tail, 0, text + at, tail.length);
        assert_string_equal(text, "onetwothrees");
        slices_clear(&head);
        slices_clear(&tail);
    }
}

static void deferral_runs_once_each_and_not_inside(void **state)
{
    (void)state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    defer_init(&loop);
    struct counter counter = {.loop = &loop, .again = 200};
    defer_setup(&counter.defer, on_defer);
    defer_schedule(&loop, &counter.defer);
    defer_schedule(&loop, &counter.defer);
    assert_int_equal(counter.runs, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(counter.runs, 201);
    defer_schedule(&loop, &counter.defer);
    defer_cancel(&counter.defer);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(counter.runs, 201);
    defer_close(&loop);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void on_all_closed(struct closing *closing)
{
    container_of(closing, struct counter, closing)->closed++;
}

static void closing_comes_once_after_all(void **state)
{
    (void)state;
    uv_loop_t loop;
    uv_timer_t timers[3];
    uv_loop_init(&loop);
    defer_init(&loop);
    for (int with = 0; with < 2; with++) {
        struct counter counter = {0};
        closing_begin(&counter.closing, &loop, on_all_closed);
        for (int i = 0; with && i < 3; i++) {
            uv_timer_init(&loop, &timers[i]);
            closing_add(&counter.closing, (uv_handle_t *)&timers[i]);
        }
        closing_end(&counter.closing);
        assert_int_equal(counter.closed, 0);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(counter.closed, 1);
    }
    defer_close(&loop);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void work_run(struct work *work)
{
    container_of(work, struct counter, work)->again = 42;
}

static void work_done(struct work *work)
{
    container_of(work, struct counter, work)->runs++;
}

static void work_runs_off_the_loop(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct counter counter = {0};
    uv_loop_init(&loop);
    defer_init(&loop);
    work_start(&loop, &counter.work, work_run, work_done);
    assert_int_equal(counter.runs, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(counter.again, 42);
    assert_int_equal(counter.runs, 1);
    defer_close(&loop);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* A deferral that goes round and round; in its last round something is answered, and closed. */
struct chain {
    uv_loop_t loop;
    uv_async_t start;
    unsigned rounds;
    struct defer again, answer;
    struct closing closing;
    unsigned answered, closed;
};

static void on_chain_answer(struct defer *defer)
{
    struct chain *chain = container_of(defer, struct chain, answer);
    assert_int_equal(chain->closed, 0);
    chain->answered++;
}

static void on_chain_closed(struct closing *closing)
{
    struct chain *chain = container_of(closing, struct chain, closing);
    assert_int_equal(chain->answered, 1);
    chain->closed++;
}

static void on_chain_again(struct defer *defer)
{
    struct chain *chain = container_of(defer, struct chain, again);
    if (--chain->rounds > 0) {
        defer_schedule(&chain->loop, defer);
        return;
    }
    defer_schedule(&chain->loop, &chain->answer);
    closing_begin(&chain->closing, &chain->loop, on_chain_closed);
    closing_add(&chain->closing, (uv_handle_t *)&chain->start);
    closing_end(&chain->closing);
}

static void on_chain_start(uv_async_t *async)
{
    struct chain *chain = container_of(async, struct chain, start);
    defer_schedule(&chain->loop, &chain->again);
}

/* From a callback of the poll, behind which libuv closes handles, and before the loop. */
static void what_was_scheduled_before_a_close_comes_before_its_end(void **state)
{
    (void)state;
    static const unsigned rounds[] = {1, DEFER_ROUNDS - 1, DEFER_ROUNDS, DEFER_ROUNDS + 1, 2 * DEFER_ROUNDS, 1000};
    for (unsigned i = 0; i < 2 * sizeof rounds / sizeof *rounds; i++) {
        struct chain chain = {.rounds = rounds[i / 2]};
        uv_loop_init(&chain.loop);
        defer_init(&chain.loop);
        defer_setup(&chain.again, on_chain_again);
        defer_setup(&chain.answer, on_chain_answer);
        uv_async_init(&chain.loop, &chain.start, on_chain_start);
        if (i % 2)
            uv_async_send(&chain.start);
        else
            on_chain_start(&chain.start);
        uv_run(&chain.loop, UV_RUN_DEFAULT);
        assert_int_equal(chain.closed, 1);
        defer_close(&chain.loop);
        uv_run(&chain.loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&chain.loop), 0);
    }
}

static void sizes_are_read_and_written(void **state)
{
    (void)state;
    uint64_t n;
    char out[TEXT_SIZE_MAX];
    assert_true(text_parse_size("64M", &n) && n == 64 << 20);
    assert_true(text_parse_size("64MiB", &n) && n == 64 << 20);
    assert_true(text_parse_size("0", &n) && n == 0);
    static const char *const bad[] = {"", "M", "-1", "1 M", "1MM", "18446744073709551616", "99999999999T", "0x10", "1.5G"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(text_parse_size(bad[i], &n));
    text_size(64 << 20, out);
    assert_string_equal(out, "64M");
    text_size(1000, out);
    assert_string_equal(out, "1000");
    text_human_size(1999999999, out);
    assert_string_equal(out, "1.9 GiB");
    text_human_size((1 << 20) - 1, out);
    assert_string_equal(out, "1.0 MiB");
}

static void durations_are_read_and_written(void **state)
{
    (void)state;
    uint64_t n;
    char out[TEXT_SIZE_MAX];
    assert_true(text_parse_duration("25s", &n) && n == 25000);
    assert_true(text_parse_duration("1500ms", &n) && n == 1500);
    assert_true(text_parse_duration("7", &n) && n == 7000);
    assert_false(text_parse_duration("7d", &n));
    uint64_t values[] = {0, 1, 999, 1000, 60000, 120000, 90000, 3600000, 5400000};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        text_duration(values[i], out);
        assert_true(text_parse_duration(out, &n) && n == values[i]);
    }
}

static void text_of_peers_is_escaped_and_cut(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a\r\n\x1b", "a\\x0d\\x0a\\x1b"},
        {"\x7f\\", "\\x7f\\x5c"},
        {"\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0", "\\xc2\\x80\\xc2\\x9b\\xc2\\x9f\xc2\xa0"}, /* C1, and what follows it */
        {"\xc3\x9c\xe2\x82\xac\xf0\x9f\x92\xbf", "\xc3\x9c\xe2\x82\xac\xf0\x9f\x92\xbf"},
        {"\x9b[2J\xff\xc3", "\\x9b[2J\\xff\\xc3"}, /* no UTF-8: what a terminal of 8 bits would obey */
        {"\xc0\x9b\xed\xa0\x80", "\\xc0\\x9b\\xed\\xa0\\x80"},
        {"\xc3\x1b", "\\xc3\\x1b"},
    };
    char out[64], small[16];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        text_escape(cases[i][0], out, sizeof out);
        assert_string_equal(out, cases[i][1]);
    }
    text_escape("aaaaaaaaaaaaaaaaaaaaaaaaaaa", small, sizeof small);
    assert_string_equal(small, "aaaaaaaaaaaa...");
    text_escape("aaaaaaaaaaa\xc3\xa4 and more", small, sizeof small); /* between characters */
    assert_string_equal(small, "aaaaaaaaaaa...");
}

static void bytes_are_shown_as_digits(void **state)
{
    (void)state;
    char out[9];
    text_hex("\x00\x7f\x80\xfe", 4, out);
    assert_string_equal(out, "007f80fe");
    text_hex("", 0, out);
    assert_string_equal(out, "");
}

static void percent_signs_are_decoded_as_they_are_written(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"", ""},         {"plain", "plain"},   {"%41%6a%6A", "Ajj"}, {"a%20b", "a b"},
        {"%2541", "%41"}, {"%ff%0a", "\xff\n"}, {"a+b", "a+b"},
    };
    static const char *const bad[] = {"%",    "%4",    "%4%",  "%% 1", "% 1", "%1 ",   "%+1",       "%-1",
                                      "%\t1", "%0x41", "%x41", "%g1",  "%1g", "%4\n1", "%\xc3\xa4", "%:0",
                                      "%0:",  "%@0",   "%`0",  "%/0",  "%00", "a%00",  "%41%00"};
    char text[16];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        strcpy(text, good[i][0]);
        assert_true(text_percent_decode(text));
        assert_string_equal(text, good[i][1]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        strcpy(text, bad[i]);
        if (text_percent_decode(text))
            fail_msg("\"%s\" is decoded", bad[i]);
    }
    for (int byte = 0; byte < 256; byte++) {
        snprintf(text, sizeof text, byte % 2 ? "%%%02xf" : "%%%02Xf", (unsigned)byte);
        assert_int_equal(text_percent_byte(text), byte);
        assert_int_equal(text_percent_byte(text + 1), -1);
    }
}

static void urls_are_shown_without_secrets(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"https://u:p@h/x.iso", "https://h/x.iso"},
        {"https://u:p@w@h/x.iso", "https://h/x.iso"},
        {"https://h/x.iso?sig=SECRET#f", "https://h/x.iso?..."},
        {"https://h?sig=SECRET", "https://h?..."},
        {"https://h/a@b", "https://h/a@b"},
        {"//u:p@h/share/x", "//h/share/x"},
        {"\\\\u:p@h\\share@x", "\\x5c\\x5ch\\x5cshare@x"},
        {"/srv/a?b", "/srv/a?b"},
        {"file:///srv/x", "file:///srv/x"},
        {"", ""},
    };
    char out[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        text_url_public(cases[i][0], out, sizeof out);
        assert_string_equal(out, cases[i][1]);
    }
    text_url_name("https://h/dir/x.iso?a/b", out, sizeof out);
    assert_string_equal(out, "x.iso");
    text_url_name("https://h", out, sizeof out);
    assert_string_equal(out, "");
    text_url_name("\\\\h\\share\\dir\\x y.iso", out, sizeof out);
    assert_string_equal(out, "x y.iso");
    text_url_name("//h/share/x.iso", out, sizeof out);
    assert_string_equal(out, "x.iso");
    text_url_name("h:/export/x.iso", out, sizeof out);
    assert_string_equal(out, "x.iso");
    text_url_name("/srv/x.iso", out, sizeof out);
    assert_string_equal(out, "x.iso");
}

/* In the C library's place: with and without its checks of formats. */
__attribute__((format(printf, 2, 3))) void syslog(int level, const char *format, ...);
__attribute__((format(printf, 3, 4))) void __syslog_chk(int level, int flag, const char *format, ...);
static int logged_level;
static char logged[4096];

__attribute__((format(printf, 2, 0))) static void keep_log(int level, const char *format, va_list args)
{
    logged_level = level;
    vsnprintf(logged, sizeof logged, format, args);
}

void syslog(int level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    keep_log(level, format, args);
    va_end(args);
}

void __syslog_chk(int level, int flag, const char *format, ...)
{
    (void)flag;
    va_list args;
    va_start(args, format);
    keep_log(level, format, args);
    va_end(args);
}

static void syslog_gets_the_level_and_one_escaped_line(void **state)
{
    (void)state;
    log_setup(LOG_TO_SYSLOG, LOG_LEVEL_NOTICE);
    log_warning("slot0", "a server said %s", "red\x1b[31m\nand more");
    assert_int_equal(logged_level, 4); /* LOG_WARNING */
    assert_string_equal(logged, "slot0: a server said red\\x1b[31m\\x0aand more");
    log_info("slot0", "too much");
    assert_int_equal(logged_level, 4);
    log_setup(LOG_TO_STDERR, LOG_LEVEL_ERROR);
}

static void wiped_blocks_keep_what_is_in_them(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 10, 4000, 100, WIPE_MAX + 1, 4 * WIPE_MAX, WIPE_MAX / 2, 3};
    char *block = NULL;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        block = wipe_realloc(block, sizes[i]);
        assert_non_null(block);
        if (i > 0)
            assert_int_equal(*block, 'a' + (int)i - 1);
        memset(block, 'a' + (int)i, sizes[i]);
    }
    wipe_free(block);
    wipe_free(NULL);
}

static void jitter_is_within_its_bounds_and_differs(void **state)
{
    (void)state;
    unsigned differing = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t pause = jitter_pause(1000), below = jitter_below(7);
        assert_in_range(pause, 500, 1000);
        assert_true(below < 7);
        differing += jitter_number() != jitter_number();
    }
    assert_int_equal(differing, 1000);
}

/* Each process draws anew, as each BMC does. */
static void jitter_of_two_processes_differs(void **state)
{
    (void)state;
    uint64_t drawn[2];
    for (int i = 0; i < 2; i++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
            uint64_t number = jitter_number();
            _exit(write(ends[1], &number, sizeof number) != sizeof number);
        }
        assert_int_equal(read(ends[0], &drawn[i], sizeof drawn[i]), sizeof drawn[i]);
        waitpid(child, NULL, 0);
        close(ends[0]);
        close(ends[1]);
    }
    assert_int_not_equal(drawn[0], drawn[1]);
}

/* What the trouble's lines are, counted by a stderr of our own. */
static unsigned lines_of(void (*act)(void), char *text, size_t size)
{
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    unsigned lines = 0;
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    act();
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    size_t length = fread(text, 1, size - 1, file);
    text[length] = '\0';
    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n';
    fclose(file);
    return lines;
}

static void trouble_for_ten_minutes(void)
{
    struct trouble trouble = {0};
    for (uint64_t now = 5; now < 600000; now += 100)
        trouble_met(&trouble, now, "test", "it is bad");
    trouble_over(&trouble, "test", "it is well");
    trouble_over(&trouble, "test", "it is well");
}

static void trouble_that_comes_and_goes(void)
{
    struct trouble trouble = {0};
    for (uint64_t now = 5; now < 600000; now += 100) {
        trouble_met(&trouble, now, "test", "it is bad");
        trouble_over(&trouble, "test", "it is well");
    }
}

static void a_trouble_is_told_in_few_lines(void **state)
{
    (void)state;
    static char text[1 << 16];
    log_setup(LOG_TO_STDERR, LOG_LEVEL_INFO);
    assert_int_equal(lines_of(trouble_for_ten_minutes, text, sizeof text), 10 + 1);
    assert_non_null(strstr(text, "and 599 times more in the last 60 s"));
    assert_non_null(strstr(text, "it is well"));
    assert_int_equal(lines_of(trouble_that_comes_and_goes, text, sizeof text), 2 * 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budget_counts_until_the_last_reference),
        cmocka_unit_test(slices_merge_and_move),
        cmocka_unit_test(slices_copy_across_pieces),
        cmocka_unit_test(slices_are_split_anywhere),
        cmocka_unit_test(deferral_runs_once_each_and_not_inside),
        cmocka_unit_test(closing_comes_once_after_all),
        cmocka_unit_test(work_runs_off_the_loop),
        cmocka_unit_test(what_was_scheduled_before_a_close_comes_before_its_end),
        cmocka_unit_test(sizes_are_read_and_written),
        cmocka_unit_test(durations_are_read_and_written),
        cmocka_unit_test(text_of_peers_is_escaped_and_cut),
        cmocka_unit_test(bytes_are_shown_as_digits),
        cmocka_unit_test(percent_signs_are_decoded_as_they_are_written),
        cmocka_unit_test(urls_are_shown_without_secrets),
        cmocka_unit_test(syslog_gets_the_level_and_one_escaped_line),
        cmocka_unit_test(wiped_blocks_keep_what_is_in_them),
        cmocka_unit_test(jitter_of_two_processes_differs), /* before anybody drew */
        cmocka_unit_test(jitter_is_within_its_bounds_and_differs),
        cmocka_unit_test(a_trouble_is_told_in_few_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
