/* Every library that configure found links and runs. */
#include <curl/curl.h>
#include <ini.h>
#include <jansson.h>
#include <libmnl/libmnl.h>
#include <llhttp.h>
#include <openssl/crypto.h>
#include <string.h>
#include <uv.h>
#include <wslay/wslay.h>

#include "cmocka_all.h"

static int methods;

static int on_message_complete(llhttp_t *parser)
{
    methods += parser->method == HTTP_GET;
    return 0;
}

static void llhttp_parses_a_request(void **state)
{
    (void)state;
    static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    llhttp_settings_t settings;
    llhttp_t parser;
    llhttp_settings_init(&settings);
    settings.on_message_complete = on_message_complete;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    assert_int_equal(llhttp_execute(&parser, request, sizeof request - 1), HPE_OK);
    assert_int_equal(methods, 1);
}

static void wslay_makes_a_context(void **state)
{
    (void)state;
    struct wslay_event_callbacks callbacks = {0};
    wslay_event_context_ptr context;
    assert_int_equal(wslay_event_context_server_init(&context, &callbacks, NULL), 0);
    wslay_event_context_free(context);
}

static int on_value(void *user, const char *section, const char *name, const char *value)
{
    (void)user;
    return strcmp(section, "s") == 0 && strcmp(name, "k") == 0 && strcmp(value, "v") == 0;
}

static void the_others_answer(void **state)
{
    (void)state;
    assert_int_equal(ini_parse_string("[s]\nk = v\n", on_value, NULL), 0);
    json_t *json = json_pack("{s:i}", "a", 1);
    assert_non_null(json);
    json_decref(json);
    char buffer[64] = {0};
    assert_int_equal(mnl_nlmsg_put_header(buffer)->nlmsg_len, MNL_NLMSG_HDRLEN);
    assert_true(OpenSSL_version_num() >= 0x30000000L);
    assert_true(curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_SSL);
    assert_true(uv_version() >= 0x012c00);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llhttp_parses_a_request),
        cmocka_unit_test(wslay_makes_a_context),
        cmocka_unit_test(the_others_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
