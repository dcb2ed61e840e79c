/* A config medium as a source: the contract, however its files come; and what it says when they are no good. What the image
 * is worth to others is in test/system/test_config_medium.py. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../block/by_hand.h"
#include "../block/contract.h"
#include "../block/fake_source.h"
#include "../cmocka_all.h"
#include "base/text.h"
#include "seed/iso.h"
#include "seed/medium.h"

static const char text[] = "{\"user-data\": \"#cloud-config {slot}\\n\", \"a/b/c\": \"x\", \"a/b.txt\": \"y\"}";
static const struct seed_facts facts = {.slot = "slot1", .uuid = "7a1c"};
static const struct seed_wish wish = {.kind = "cidata"};
static struct bytes *expected;
static struct fake_stats stats;

static int make_expected(void **state)
{
    struct seed_files files = {0};
    char error[SEED_ERROR_MAX];
    (void)state;
    bool good = seed_files_parse(&files, text, strlen(text), error) && seed_wish_complete(&wish, &facts, &files, error);
    expected = good ? seed_iso_write(&files, "cidata") : NULL;
    seed_files_clear(&files);
    return expected ? 0 : -1;
}

static int free_expected(void **state)
{
    (void)state;
    bytes_unref(expected);
    return 0;
}

static struct source *make_given(uv_loop_t *loop, void *context, void *arg)
{
    struct seed_wish given = wish;
    (void)context;
    (void)arg;
    given.files = text;
    return seed_medium_new(loop, "it", NULL, &given, &facts);
}

static struct source *lower_of(uv_loop_t *loop, const char *content, size_t size, unsigned fail_percent)
{
    struct fake_options options = {(unsigned char *)(uintptr_t)content, size, false, 3, fail_percent, "it", 8, false};
    return fake_source_new(loop, &options, &stats);
}

static struct source *make_read(uv_loop_t *loop, void *context, void *arg)
{
    (void)context;
    (void)arg;
    return seed_medium_new(loop, "it", lower_of(loop, text, strlen(text), 0), &wish, &facts);
}

static void test_contract(void **state)
{
    struct contract contract = {.content = expected->data, .size = expected->length, .make = make_given};
    (void)state;
    contract_check(&contract);
    contract.make = make_read;
    contract_check(&contract);
}

/* --- what is no good --- */

/* Opens it, which must fail with that, and say why. */
static void fails_to_open(struct source *(*make)(uv_loop_t *loop), int status, const char *why)
{
    uv_loop_t loop;
    test_loop_begin(&loop);
    struct source *source = make(&loop);
    assert_int_equal(by_hand_open(&loop, source), status);
    assert_non_null(strstr(source->error, why));
    source_close(source);
    test_loop_end(&loop);
}

static struct source *make_failing(uv_loop_t *loop)
{
    return seed_medium_new(loop, "it", lower_of(loop, text, strlen(text), 100), &wish, &facts);
}

static struct source *make_bad(uv_loop_t *loop)
{
    return seed_medium_new(loop, "it", lower_of(loop, "{", 1, 0), &wish, &facts);
}

static struct source *make_large(uv_loop_t *loop)
{
    return seed_medium_new(loop, "it", lower_of(loop, text, SEED_TEXT_MAX + 1, 0), &wish, &facts);
}

static struct source *make_unknown(uv_loop_t *loop)
{
    const struct seed_wish given = {.files = "{\"a\": \"{serial}\"}"};
    return seed_medium_new(loop, "it", NULL, &given, &facts);
}

static struct source *make_pending(uv_loop_t *loop)
{
    const struct seed_wish given = {.files = "{\"a\": \"{serial}\"}"};
    struct seed_facts pending = facts;
    pending.pending = true;
    return seed_medium_new(loop, "it", NULL, &given, &pending);
}

static void test_what_is_no_good(void **state)
{
    (void)state;
    fails_to_open(make_failing, -EIO, "");
    fails_to_open(make_bad, -EINVAL, "no good JSON");
    fails_to_open(make_large, -EINVAL, "2 MiB");
    fails_to_open(make_unknown, -EINVAL, "{serial}");
    fails_to_open(make_pending, -EAGAIN, "{serial}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_contract), cmocka_unit_test(test_what_is_no_good)};
    return cmocka_run_group_tests(tests, make_expected, free_expected);
}
