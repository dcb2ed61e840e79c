/* The pure parts of the Redfish service: entity tags, query options, durations. */
#include <string.h>

#include "../../cmocka_all.h"
#include "api/redfish/duration.h"
#include "api/redfish/etag.h"
#include "api/redfish/query.h"

static void a_tag_is_strong_and_follows_the_content(void **state)
{
    (void)state;
    char one[REDFISH_ETAG_SIZE], two[REDFISH_ETAG_SIZE];
    json_t *a = json_pack("{s:i, s:s}", "A", 1, "B", "x"), *b = json_pack("{s:s, s:i}", "B", "x", "A", 1);
    redfish_etag(a, one);
    redfish_etag(b, two);
    assert_string_equal(one, two); /* whatever the order */
    assert_int_equal(strlen(one), REDFISH_ETAG_SIZE - 1);
    assert_int_equal(strspn(one + 1, "0123456789abcdef"), 16);
    json_object_set_new(b, "A", json_integer(2));
    redfish_etag(b, two);
    assert_string_not_equal(one, two);
    json_decref(a);
    json_decref(b);
}

static void tags_match_in_every_form_that_clients_send(void **state)
{
    (void)state;
    const char *etag = "\"0123456789abcdef\"";
    static const char *const good[] = {"\"0123456789abcdef\"",
                                       "W/\"0123456789abcdef\"",
                                       "0123456789abcdef",
                                       "*",
                                       " * ",
                                       "\"x\", \"0123456789abcdef\"",
                                       "\"x\",W/\"0123456789abcdef\" , \"y\""};
    static const char *const bad[] = {
        "",   "\"\"", "\"0123456789abcde\"", "\"0123456789abcdef0\"", "\"0123456789abcdef", "W/", ",,,", "\"**\"",
        "\"", "**"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(redfish_etag_listed(good[i], etag));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(redfish_etag_listed(bad[i], etag));
}

static void check_query(const char *text, enum redfish_query_verdict wanted, const char *option)
{
    struct redfish_query query;
    char got[REDFISH_OPTION_MAX];
    assert_int_equal(redfish_query_parse(text, &query, got), wanted);
    if (option)
        assert_string_equal(got, option);
}

static void unknown_options_are_refused_only_with_a_dollar(void **state)
{
    (void)state;
    check_query("", REDFISH_QUERY_OK, NULL);
    check_query("only", REDFISH_QUERY_OK, NULL);
    check_query("excerpt&a=b&&=&x", REDFISH_QUERY_OK, NULL);
    check_query("a=%24expand", REDFISH_QUERY_OK, NULL);
    check_query("$expand=", REDFISH_QUERY_WRONG, "$expand");
    check_query("$expand=..", REDFISH_QUERY_WRONG, "$expand");
    check_query("$expand=.($levels=2)", REDFISH_QUERY_WRONG, "$expand");
    check_query("$expand=.($levels=1)x", REDFISH_QUERY_WRONG, "$expand");
    check_query("$expandx=.", REDFISH_QUERY_UNSUPPORTED, "$expandx");
    check_query("a=1&%24filter=x", REDFISH_QUERY_UNSUPPORTED, "$filter");
    check_query("$selectx=A", REDFISH_QUERY_UNSUPPORTED, "$selectx");
    check_query("$select", REDFISH_QUERY_WRONG, "$select");
    check_query("$select=,", REDFISH_QUERY_WRONG, "$select");
    check_query("$top=", REDFISH_QUERY_WRONG, "$top");
    check_query("$top=-1", REDFISH_QUERY_WRONG, "$top");
    check_query("$top=1x", REDFISH_QUERY_WRONG, "$top");
    check_query("$skip=99999999999999999999", REDFISH_QUERY_WRONG, "$skip");
    check_query("a=%", REDFISH_QUERY_WRONG, "a");
    check_query("a=%0", REDFISH_QUERY_WRONG, "a");
    check_query("a=%00", REDFISH_QUERY_WRONG, "a");
}

static void options_are_read(void **state)
{
    (void)state;
    struct redfish_query query;
    char option[REDFISH_OPTION_MAX];
    assert_int_equal(redfish_query_parse("$top=2&%24skip=1&$select=Id,Status%2FHealth", &query, option),
                     REDFISH_QUERY_OK);
    assert_int_equal(query.top, 2);
    assert_int_equal(query.skip, 1);
    assert_string_equal(query.select, "Id,Status/Health");
    char *longer = malloc(5000);
    memset(longer, 'a', 4999);
    longer[4999] = '\0';
    memcpy(longer, "$select=", 8);
    assert_int_equal(redfish_query_parse(longer, &query, option), REDFISH_QUERY_WRONG);
    longer[8 + REDFISH_SELECT_MAX] = '\0';
    assert_int_equal(redfish_query_parse(longer, &query, option), REDFISH_QUERY_WRONG);
    longer[8 + REDFISH_SELECT_MAX - 1] = '\0';
    assert_int_equal(redfish_query_parse(longer, &query, option), REDFISH_QUERY_OK);
    free(longer);
}

static void what_is_expanded(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned expand;
    } good[] = {
        {"$expand=.", REDFISH_EXPAND_SUBORDINATES},
        {"$expand=~", REDFISH_EXPAND_LINKS},
        {"$expand=*($levels=1)", REDFISH_EXPAND_SUBORDINATES | REDFISH_EXPAND_LINKS},
        {"$expand=%7e(%24levels=1)", REDFISH_EXPAND_LINKS},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct redfish_query query;
        char option[REDFISH_OPTION_MAX];
        assert_int_equal(redfish_query_parse(good[i].text, &query, option), REDFISH_QUERY_OK);
        assert_int_equal(query.expand, good[i].expand);
    }
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
        const char *shown; /* NULL: as it is */
    } good[] = {
        {"PT1S", 1000, NULL},
        {"PT0.5S", 500, "PT0.500S"},
        {"PT1.2345S", 1234, "PT1.234S"},
        {"P1D", 86400000, NULL},
        {"P1DT2H3M4S", 93784000, NULL},
        {"PT90M", 5400000, "PT1H30M"},
        {"PT0S", 0, NULL},
        {"P0DT0H", 0, "PT0S"},
        {"P366D", REDFISH_DURATION_MAX, NULL},
    };
    static const char *const bad[] = {"",      "P",      "PT",     "P1DT",  "1S",    "PT1",    "P1S",   "PT1D",
                                      "P1H",   "PT1S1M", "PT1S1S", "PT1.S", "PT.5S", "PT1.5M", "P-1D",  "PT+1S",
                                      "PT 1S", "PT1S ",  "pt1s",   "P1W",   "P1Y",   "PTT1S",  "PT1ST", "P367D",
                                      "PT99999999999999999999S", "P366DT1S"};
    char text[REDFISH_DURATION_SIZE];
    uint64_t ms;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(redfish_duration_parse(good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
        redfish_duration_show(ms, text);
        assert_string_equal(text, good[i].shown ? good[i].shown : good[i].text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (redfish_duration_parse(bad[i], &ms))
            fail_msg("\"%s\" was taken", bad[i]);
}

static void check_page(long top, long skip, const char *wanted)
{
    struct redfish_query query = {.top = top, .skip = skip};
    json_t *collection = json_pack("{s:[i,i,i]}", "Members", 1, 2, 3);
    redfish_query_page(&query, collection);
    char *text = json_dumps(json_object_get(collection, "Members"), JSON_COMPACT);
    assert_string_equal(text, wanted);
    free(text);
    json_decref(collection);
}

static void pages_of_a_collection(void **state)
{
    (void)state;
    check_page(-1, -1, "[1,2,3]");
    check_page(2, -1, "[1,2]");
    check_page(-1, 1, "[2,3]");
    check_page(1, 1, "[2]");
    check_page(0, 0, "[]");
    check_page(9, 9, "[]");
}

static void check_select(const char *select, const char *wanted)
{
    json_t *resource = json_loads("{\"@odata.id\":\"/x\",\"Id\":\"x\",\"A\":{\"B\":1,\"C\":{\"D\":2,\"E\":3}},"
                                  "\"F@Redfish.AllowableValues\":[],\"F\":null}",
                                  0, NULL);
    json_t *selected = redfish_query_select(select, resource);
    char *text = json_dumps(selected, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, wanted);
    free(text);
    json_decref(selected);
    assert_int_equal(json_object_size(json_object_get(resource, "A")), 2); /* it is as it was */
    json_decref(resource);
}

static void selected_properties_and_who_it_is(void **state)
{
    (void)state;
    check_select("Id", "{\"@odata.id\":\"/x\",\"Id\":\"x\"}");
    check_select("Nothing,A/Nothing/X,Id/Y", "{\"@odata.id\":\"/x\",\"A\":{}}");
    check_select("A/C/D, F",
                 "{\"@odata.id\":\"/x\",\"A\":{\"C\":{\"D\":2}},\"F\":null,\"F@Redfish.AllowableValues\":[]}");
    check_select("A,A/B", "{\"@odata.id\":\"/x\",\"A\":{\"B\":1,\"C\":{\"D\":2,\"E\":3}}}");
    check_select("A/B,A/C/E", "{\"@odata.id\":\"/x\",\"A\":{\"B\":1,\"C\":{\"E\":3}}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tag_is_strong_and_follows_the_content),
        cmocka_unit_test(tags_match_in_every_form_that_clients_send),
        cmocka_unit_test(unknown_options_are_refused_only_with_a_dollar),
        cmocka_unit_test(options_are_read),
        cmocka_unit_test(what_is_expanded),
        cmocka_unit_test(durations),
        cmocka_unit_test(pages_of_a_collection),
        cmocka_unit_test(selected_properties_and_who_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
