/* A config medium's files: names, JSON, tar, placeholders, and what the kinds make of them. */
#include "build-config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "seed/wish.h"

static struct seed_files files;
static char error[SEED_ERROR_MAX];

static int clear(void **state)
{
    (void)state;
    seed_files_clear(&files);
    *error = '\0';
    return 0;
}

static bool parse(const char *text)
{
    return seed_files_parse(&files, text, strlen(text), error);
}

static void has(const char *name, const char *content)
{
    const struct seed_file *file = seed_files_find(&files, name);
    assert_non_null(file);
    assert_int_equal(file->size, strlen(content));
    assert_memory_equal(file->data, content, file->size);
}

static void fails(const char *text, const char *why)
{
    assert_false(parse(text));
    if (!strstr(error, why))
        fail_msg("\"%s\" has no \"%s\"", error, why);
    seed_files_clear(&files);
}

static void test_json(void **state)
{
    (void)state;
    assert_true(parse(" {\"user-data\": \"#cloud-config\\n\", \"keys/a.bin\": {\"base64\": \"AAEC/w==\"}, \"empty\": \"\", \"e\": {\"base64\": \"\"}}"));
    assert_int_equal(files.count, 4);
    has("user-data", "#cloud-config\n");
    has("empty", "");
    const struct seed_file *binary = seed_files_find(&files, "keys/a.bin");
    assert_int_equal(binary->size, 4);
    assert_memory_equal(binary->data, "\0\1\2\377", 4);
    assert_true(binary->binary);
}

static void test_json_that_is_wrong(void **state)
{
    (void)state;
    fails("{\"a\": \"x\"", "line 1");
    fails("{\"a\": \"x\", \"a\": \"y\"}", "JSON");
    fails("{\"a\": 1}", "neither a text");
    fails("{\"a\": {\"base64\": \"AAE\"}}", "neither a text");
    fails("{\"a\": {\"base64\": \"A===\", \"b\": 1}}", "neither a text");
    fails("", "tar");
    fails("[]", "tar");
}

static void test_names(void **state)
{
    static const char *const bad[] = {"", "/a", "a/", "a//b", ".", "..", "a/../b", "a\\b", "c:d", "a*", "x\x01", "\xff",
                                      "1/2/3/4/5/6/7/8/9", "\xf0\x9f\x98\x80"};
    char long_part[SEED_PART_MAX + 2];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(seed_files_add(&files, bad[i], "x", 1, error));
        assert_int_equal(files.count, 0);
    }
    memset(long_part, 'a', sizeof long_part);
    long_part[SEED_PART_MAX + 1] = '\0';
    assert_false(seed_files_add(&files, long_part, "x", 1, error));
    assert_true(seed_files_add(&files, long_part + 1, "x", 1, error));
    assert_true(seed_files_add(&files, "1/2/3/4/5/6/7/8", "x", 1, error));
    assert_false(seed_files_add(&files, "1/2", "x", 1, error));
    assert_false(seed_files_add(&files, "1/2/3/4/5/6/7/8", "x", 1, error));
    assert_true(seed_files_add(&files, "1/22", "x", 1, error));
    assert_true(seed_files_add(&files, "gr\xc3\xbc\xc3\x9f", "x", 1, error));
}

static void test_bounds(void **state)
{
    char name[16], *large = calloc(1, SEED_SIZE_MAX);
    (void)state;
    assert_true(seed_files_add(&files, "large", large, SEED_SIZE_MAX - 1, error));
    assert_false(seed_files_add(&files, "two", "xx", 2, error));
    assert_non_null(strstr(error, "1048576"));
    assert_true(seed_files_add(&files, "one", "x", 1, error));
    seed_files_clear(&files);
    for (unsigned i = 0; i < SEED_FILES_MAX; i++) {
        snprintf(name, sizeof name, "%u", i);
        assert_true(seed_files_add(&files, name, "", 0, error));
    }
    assert_false(seed_files_add(&files, "more", "", 0, error));
    free(large);
}

/* A header of POSIX's ustar with its checksum. */
static size_t put_tar(char *to, const char *name, char type, const char *content)
{
    size_t size = strlen(content);
    unsigned sum = 0;
    memset(to, 0, 1024);
    snprintf(to, 100, "%s", name);
    memcpy(to + 100, "0000644\0000000000\0000000000", 23);
    snprintf(to + 124, 12, "%011o", (unsigned)size % 512);
    memcpy(to + 136, "00000000000\0        ", 20);
    to[156] = type;
    memcpy(to + 257, "ustar\00000", 8);
    for (unsigned i = 0; i < 512; i++)
        sum += (unsigned char)to[i];
    snprintf(to + 148, 8, "%06o", sum % 0777777);
    memcpy(to + 512, content, size);
    return size > 0 ? 1024 : 512;
}

static void test_tar(void **state)
{
    static char tar[8192];
    size_t used = 0;
    (void)state;
    used += put_tar(tar, "./", '5', "");
    used += put_tar(tar + used, "./openstack/latest/user_data", '0', "#!/bin/sh\n");
    used += put_tar(tar + used, "empty", '0', "");
    assert_true(seed_files_parse(&files, tar, used + 1024, error));
    assert_int_equal(files.count, 2);
    has("openstack/latest/user_data", "#!/bin/sh\n");
    seed_files_clear(&files);
    assert_false(seed_files_parse(&files, tar, 512 + 700, error));
    seed_files_clear(&files);
    put_tar(tar, "link", '2', "");
    assert_false(seed_files_parse(&files, tar, 2048, error));
    assert_non_null(strstr(error, "neither file nor folder"));
    put_tar(tar, "../x", '0', "y");
    assert_false(seed_files_parse(&files, tar, 4096, error));
    assert_non_null(strstr(error, "relative"));
}

static void test_tars_names(void **state)
{
    static char tar[8192];
    char path[181], pax[220];
    size_t used = 0;
    (void)state;
    for (unsigned i = 0; i < 180; i++)
        path[i] = i % 60 == 59 ? '/' : 'a';
    path[179] = 'a';
    path[180] = '\0';
    snprintf(pax, sizeof pax, "20 mtime=1700000000\n190 path=%s\n", path);
    used += put_tar(tar, "pax", 'x', pax);
    used += put_tar(tar + used, "short", '0', "pax");
    path[0] = 'b';
    used += put_tar(tar + used, "././@LongLink", 'L', path);
    used += put_tar(tar + used, "short", '0', "gnu");
    used += put_tar(tar + used, "short", '0', "text");
    assert_true(seed_files_parse(&files, tar, used + 1024, error));
    has(path, "gnu");
    path[0] = 'a';
    has(path, "pax");
    has("short", "text");
    static const char *const wrong[] = {"190 path=x\n", "9 path=x", "8 pathxx\n", "x", "25 GNU.sparse.major=1.00\n", " 9 path=x\n"};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        seed_files_clear(&files);
        used = put_tar(tar, "pax", 'x', wrong[i]);
        used += put_tar(tar + used, "short", '0', "pax");
        assert_false(seed_files_parse(&files, tar, used + 1024, error));
    }
    seed_files_clear(&files);
    used = put_tar(tar, "whole", '0', "text");
    assert_false(seed_files_parse(&files, tar, used, error)); /* without the end */
    tar[0] = 'W';
    assert_false(seed_files_parse(&files, tar, used + 1024, error)); /* another checksum */
}

/* --- placeholders --- */

static const struct seed_facts facts = {.slot = "slot1", .serial = "S/N \"1\"", .mac = "02:00:00:00:00:01"};

static void test_placeholders(void **state)
{
    (void)state;
    assert_true(parse("{\"a\": \"{mac}={slot}{serial}\", \"b\": \"${mac} {{slot}} {{ mac }} {macro} {\", \"c\": {\"base64\": \"e21hY30=\"}}"));
    assert_true(seed_facts_fill_files(&facts, &files, error));
    has("a", "02:00:00:00:00:01=slot1S/N \"1\"");
    has("b", "${mac} {{slot}} {{ mac }} {macro} {");
    has("c", "{mac}");
}

static void test_a_placeholder_that_is_not_known(void **state)
{
    (void)state;
    assert_true(parse("{\"a\": \"x {uuid}\"}"));
    assert_false(seed_facts_fill_files(&facts, &files, error));
    assert_non_null(strstr(error, "{uuid}"));
    assert_non_null(strstr(error, "file a"));
}

static void test_placeholders_have_a_bound(void **state)
{
    char *many = calloc(1, 6 * 100000 + 1);
    (void)state;
    for (unsigned i = 0; i < 100000; i++)
        memcpy(many + (size_t)i * 6, "{slot}", 6);
    assert_true(seed_files_add(&files, "a", many, 6 * 100000, error));
    assert_true(seed_files_add(&files, "b", "{slot}", 6, error));
    struct seed_facts wide = facts;
    memset(wide.slot, 'x', SEED_FACT_MAX - 1);
    assert_false(seed_facts_fill_files(&wide, &files, error));
    assert_non_null(strstr(error, "1048576"));
    free(many);
}

/* --- kinds --- */

static const char network[] = "{\"address\": \"192.0.2.7/24\", \"gateway\": \"192.0.2.1\", \"interface\": \"eno1\"}";

static void test_cidata(void **state)
{
    struct seed_wish wish = {.kind = "cidata", .network_data = network};
    (void)state;
    assert_null(seed_wish_problem(&wish));
    assert_string_equal(seed_wish_label(&wish), "cidata");
    assert_true(parse("{\"user-data\": \"#cloud-config\\n\"}"));
    assert_true(seed_wish_complete(&wish, &facts, &files, error));
    assert_int_equal(files.count, 3);
    assert_non_null(seed_files_find(&files, "network-config"));
    const struct seed_file *made = seed_files_find(&files, "meta-data");
    json_t *metadata = json_loadb((char *)made->data, made->size, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(metadata, "instance-id")), "S/N \"1\"");
    json_decref(metadata);
    seed_files_clear(&files);
    assert_true(parse("{\"meta-data\": \"instance-id: x\\n\"}"));
    assert_false(seed_wish_complete(&wish, &facts, &files, error));
    assert_non_null(strstr(error, "user-data"));
}

static void test_config_2(void **state)
{
    struct seed_wish wish = {.kind = "config-2", .network_data = network};
    struct seed_facts unknown = {.slot = "slot1"};
    (void)state;
    assert_true(parse("{\"user_data\": \"x\", \"openstack/content/0000\": \"y\", \"meta_data.json\": \"{}\"}"));
    assert_true(seed_wish_complete(&wish, &facts, &files, error));
    has("openstack/latest/user_data", "x");
    has("openstack/content/0000", "y");
    has("openstack/latest/meta_data.json", "{}");
    assert_non_null(seed_files_find(&files, "openstack/latest/network_data.json"));
    assert_false(seed_wish_complete(&wish, &unknown, &files, error));
    assert_non_null(strstr(error, "give mac"));
}

static void test_wishes(void **state)
{
    struct seed_wish wish = {.kind = "ignition", .label = "two words"}, copy;
    (void)state;
    assert_non_null(strstr(seed_wish_problem(&wish), "label"));
    wish.label = "other";
    assert_null(seed_wish_problem(&wish));
    assert_string_equal(seed_wish_label(&wish), "other");
    assert_true(parse("{\"config.ign\": \"{}\"}") && seed_wish_complete(&wish, &facts, &files, error));
    has("ignition/config.ign", "{}");
    wish.network_data = network;
    assert_false(seed_wish_complete(&wish, &facts, &files, error));
    assert_true(seed_wish_is_medium(&wish));
    json_t *object = json_object();
    seed_wish_put(&wish, object);
    copy = seed_wish_get(object);
    assert_int_equal(json_object_size(object), 3);
    assert_true(seed_wish_equal(&wish, &copy));
    wish.kind = NULL;
    assert_false(seed_wish_equal(&wish, &copy));
    seed_wish_clear(&copy);
    json_decref(object);
    assert_false(seed_wish_any(&copy));
    wish.kind = "Cidata";
    assert_non_null(strstr(seed_wish_problem(&wish), "cidata"));
}

static void test_arguments(void **state)
{
    struct seed_wish wish = {.network_data = network, .network_kind = "provisioner"};
    char *text = seed_wish_arguments(&wish, &facts, "rs.uuid={slot}", error);
    (void)state;
    assert_string_equal(text, "rs.uuid=slot1 provisioner.ip=192.0.2.7/24 provisioner.gw=192.0.2.1 "
                              "provisioner.interface=eno1 ip=192.0.2.7::192.0.2.1:255.255.255.0::eno1:off");
    free(text);
    assert_null(seed_wish_arguments(&wish, &facts, "{uuid}", error));
    assert_non_null(strstr(error, "{uuid}"));
    wish = (struct seed_wish){0};
    assert_null(seed_wish_arguments(&wish, &facts, NULL, error));
    assert_string_equal(error, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_json, clear),
        cmocka_unit_test_teardown(test_json_that_is_wrong, clear),
        cmocka_unit_test_teardown(test_names, clear),
        cmocka_unit_test_teardown(test_bounds, clear),
        cmocka_unit_test_teardown(test_tar, clear),
        cmocka_unit_test_teardown(test_tars_names, clear),
        cmocka_unit_test_teardown(test_placeholders, clear),
        cmocka_unit_test_teardown(test_a_placeholder_that_is_not_known, clear),
        cmocka_unit_test_teardown(test_placeholders_have_a_bound, clear),
        cmocka_unit_test_teardown(test_cidata, clear),
        cmocka_unit_test_teardown(test_config_2, clear),
        cmocka_unit_test_teardown(test_wishes, clear),
        cmocka_unit_test_teardown(test_arguments, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
