/* The configuration: what is read, what is refused, and that a dump reads back. */
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "config/config.h"

static char error[CONFIG_ERROR_MAX];

static void defaults_are_valid_and_read_back(void **state)
{
    (void)state;
    struct config config, again;
    char *text = NULL;
    size_t size;
    config_default(&config);
    assert_int_equal(config_validate(&config, error), 0);
    assert_int_equal(config.slot_count, 2);
    assert_int_equal(config.cache_size, 64 << 20);
    assert_int_equal(config.slots[1].media, MEDIA_DISK);
    assert_int_equal(config.slots[0].http.io_timeout_ms, 25000);
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    config_dump(&config, out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(text); /* what could not be written is not there */
    assert_int_equal(config_parse(&again, "dump", text, error), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_true(config_slot_equal(&config.slots[i], &again.slots[i]));
    free(text);
    config_free(&config);
    config_free(&again);
}

static void the_sample_is_the_default(void **state)
{
    (void)state;
    struct config config, sample;
    char *text = NULL;
    size_t size;
    config_default(&config);
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    config_sample(out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(text); /* what could not be written is not there */
    assert_int_equal(config_parse(&sample, "sample", text, error), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_true(config_slot_equal(&config.slots[i], &sample.slots[i]));
    free(text);
    config_free(&config);
    config_free(&sample);
}

static void long_values_and_semicolons_survive(void **state)
{
    (void)state;
    struct config config;
    char text[2048], token[1001];
    memset(token, 'x', 1000);
    token[1000] = '\0';
    snprintf(text, sizeof text, "\xef\xbb\xbf; c\n[http]\nbearer-token = %s\n[slot a]\nimage= https://h/a;b ;c=d \r\nmedia=disk\n", token);
    assert_int_equal(config_parse(&config, "t", text, error), 0);
    assert_string_equal(config.http.login.bearer_token, token);
    assert_string_equal(config.slots[0].image, "https://h/a;b ;c=d");
    assert_int_equal(config.slots[0].media, MEDIA_DISK);
    config_free(&config);
}

static void comments_and_quotes_around_values(void **state)
{
    (void)state;
    struct config config, again;
    static const char text[] = "[http] # here\nuser =\t\"a \\\"b\\\\ #c\"\t# who\npassword = \"x #y\"\n[web]\norigins = # none\n"
                               "certificate = /a#b\t# its place\nclient-ca =#c\n[slot a]#\nkernel-args = \" h;d \"\nmedia = disk   # a stick\n";
    char *dump = NULL;
    size_t size;
    assert_int_equal(config_parse(&config, "t", text, error), 0);
    assert_string_equal(config.http.login.user, "a \"b\\ #c");
    assert_string_equal(config.http.login.password, "x #y");
    assert_string_equal(config.web.origins, "");
    assert_string_equal(config.web.certificate, "/a#b");
    assert_string_equal(config.web.client_ca, "#c");
    assert_string_equal(config.slots[0].kernel_args, " h;d ");
    assert_int_equal(config.slots[0].media, MEDIA_DISK);
    FILE *out = open_memstream(&dump, &size);
    assert_non_null(out);
    config_dump(&config, out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(dump); /* what could not be written is not there */
    assert_int_equal(config_parse(&again, "dump", dump, error), 0);
    assert_string_equal(again.http.login.user, config.http.login.user);
    assert_string_equal(again.web.certificate, config.web.certificate);
    assert_string_equal(again.web.client_ca, config.web.client_ca);
    assert_string_equal(again.slots[0].kernel_args, config.slots[0].kernel_args);
    free(dump);
    config_free(&config);
    config_free(&again);
}

static void slots_override_http_in_any_order(void **state)
{
    (void)state;
    struct config config;
    assert_int_equal(config_parse(&config, "t", "[slot a]\nio-timeout = 3s\n[slot b]\n[http]\nio-timeout = 7s\nuser = u\n", error), 0);
    assert_int_equal(config.slots[0].http.io_timeout_ms, 3000);
    assert_int_equal(config.slots[1].http.io_timeout_ms, 7000);
    assert_string_equal(config.slots[0].http.login.user, "u");
    assert_int_equal(config_set(&config, "http.io-timeout=9s", error), 0);
    assert_int_equal(config.slots[0].http.io_timeout_ms, 3000);
    assert_int_equal(config.slots[1].http.io_timeout_ms, 9000);
    assert_int_equal(config_set(&config, "slot.c.writable=yes", error), 0);
    assert_int_equal(config.slot_count, 3);
    assert_int_equal(config.slots[2].http.io_timeout_ms, 9000);
    config_free(&config);
}

static void protocols_are_a_set_of_words(void **state)
{
    (void)state;
    struct config config;
    assert_int_equal(config_parse(&config, "t", "[http]\nprotocols = smb,https\t smb\n[slot a]\n[slot b]\nprotocols = nfs\n", error), 0);
    assert_true(config_allows_protocol(&config.slots[0].http, "smb") && config_allows_protocol(&config.slots[0].http, "https"));
    assert_false(config_allows_protocol(&config.slots[0].http, "http") || config_allows_protocol(&config.slots[0].http, "nfs"));
    assert_true(config_allows_protocol(&config.slots[1].http, "nfs"));
    assert_int_equal(config_set(&config, "slot.a.protocols=none", error), 0);
    assert_int_equal(config.slots[0].http.protocols, 0);
    assert_false(config_allows_protocol(&config.slots[1].http, "smb") || config_allows_protocol(&config.slots[1].http, ""));
    config_free(&config);
    config_default(&config);
    assert_true(config_allows_protocol(&config.http, "http") && config_allows_protocol(&config.http, "sftp"));
    config_free(&config);
}

static void errors_name_the_place_and_the_mend(void **state)
{
    (void)state;
    static const struct {
        const char *text, *where, *what;
    } bad[] = {
        {"[daemon]\ncashe-size = 1M\n", "t:2:", "did you mean \"cache-size\""},
        {"[daemon]\ncache-size = 1M\n", "t:2:", "expected a size from 8M"},
        {"[daemon]\ncache-size = lots\n", "t:2:", "expected a size"},
        {"[http]\nio-timeout = 7d\n", "t:2:", "expected a time"},
        {"[slot a]\nmedia = tape\n", "t:2:", "one of cd, disk"},
        {"[http]\nprotocols =\n", "t:2:", "words out of https, http, sftp"},
        {"[http]\nprotocols = none https\n", "t:2:", "smb, or none"},
        {"[http]\nprotocols = https gopher\n", "t:2:", "words out of https, http, sftp"},
        {"[http]\nprotocols = http s\n", "t:2:", "words out of https, http, sftp"},
        {"[slot a]\nwritable = maybe\n", "t:2:", "yes or no"},
        {"[slot a]\nsocket-mode = 888\n", "t:2:", "octal"},
        {"[slot a]\n\n[slot a]\n", "t:3:", "twice (first in line 1)"},
        {"[slot a]\nmedia = cd\nmedia = cd\n", "t:3:", "twice"},
        {"[daemon]\n[daemon]\n", "t:2:", "twice"},
        {"[web]\n[web]\n", "t:2:", "twice"},
        {"[web]\nsession-idle = 1s\n", "t:2:", "expected a time from 10s"},
        {"[web]\nmedia = cd\n", "t:2:", "unknown key"},
        {"[slot 7]\n", "t:1:", "must not be a number"},
        {"[slot ctl]\n", "t:1:", "can't be called ctl"},
        {"[slot]\n", "t:1:", "unknown section [slot] (expected [daemon], [web]"},
        {"[http x]\n", "t:1:", "[credentials NAME] or [slot NAME]"},
        {"[credentials]\n", "t:1:", "unknown section"},
        {"[credentials a b]\n", "t:1:", "letters"},
        {"[credentials a]\n[credentials a]\n", "t:2:", "credentials \"a\" is there twice (first in line 1)"},
        {"[credentials a]\nmedia = cd\n", "t:2:", "unknown key"},
        {"[credentials a]\norigins = https://h/\n", "t:2:", "did you mean \"origin\""},
        {"[slot a b]\n", "t:1:", "letters"},
        {"[slot ]\n", "t:1:", "letters"},
        {"[usb]\n", "t:1:", "unknown section"},
        {"[slot a] b\n", "t:1:", "[SECTION]"},
        {"[web]\nlisten = [::]:443 localhost:80\n", "t:2:", "(\"localhost:80\" is none)"},
        {"[web]\nlisten-plain = unix:x\n", "t:2:", "expected addresses with ports"},
        {"[slot a]\nimage = htps://u:p@h/x\n", "t:2: image = ...:", "expected an absolute path, or a URL"},
        {"[slot a]\nconfig = files.json\n", "t:2:", "expected an absolute path, or a URL"},
        {"[slot a]\nimage = \"a\\\"\n", "t:2:", "a quote is not closed"},
        {"[slot a]\nimage = \"a\" b\n", "t:2:", "behind the closing quote"},
        {"[http]\nuser = u\npassword = a #b\n", "t:3:", "password: a # behind a blank begins a comment"},
        {"[slot a\n", "t:1:", "[SECTION]"},
        {"media = cd\n", "t:1:", "before the first section"},
        {"[slot a]\nmedia\n", "t:2:", "KEY = VALUE"},
        {"[slot a]\n= x\n", "t:2:", "no key"},
        {"[slot a]\nsocket-mode = 0600\n[http]\nmedia = cd\n", "t:4:", "unknown key"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct config config;
        *error = '\0';
        assert_int_equal(config_parse(&config, "t", bad[i].text, error), -1);
        if (strncmp(error, bad[i].where, strlen(bad[i].where)) != 0 || !strstr(error, bad[i].what))
            fail_msg("%s -> %s", bad[i].text, error);
    }
}

static void secrets_are_not_shown(void **state)
{
    (void)state;
    struct config config;
    char *text = NULL;
    size_t size;
    assert_int_equal(config_parse(&config, "t",
                                  "[slot a]\nuser = u\npassword = CANARY\nbearer-token = CANARY\n"
                                  "[credentials a]\norigin = https://h/\nuser = u\npassword = CANARY\nbearer-token = CANARY\n",
                                  error),
                     0);
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    config_dump(&config, out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(text); /* what could not be written is not there */
    assert_null(strstr(text, "CANARY"));
    free(text);
    config_free(&config);
    char big[4000];
    memset(big, 'C', sizeof big);
    memcpy(big, "[http]\npassword = ", 18);
    big[sizeof big - 1] = '\0';
    assert_int_equal(config_parse(&config, "t", big, error), -1);
    assert_null(strstr(error, "CCC"));
}

static void what_does_not_fit_together_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[daemon]\n",
        "[slot a]\nsocket = /x\n[slot b]\nsocket = /x\n",
        "[slot control]\n",
        "[slot a]\nclient-key = /k\n",
        "[slot a]\npassword = p\n",
        "[daemon]\ncache-slot-minimum = 40M\n[slot a]\n",
        "[web]\nroot-slot = b\n[slot a]\n",
        "[web]\ncertificate-key = /k\n[slot a]\n",
        "[web]\nclient-certificates = required\n[slot a]\n",
        "[web]\naccounts = none\n[slot a]\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct config config;
        assert_int_equal(config_parse(&config, "t", bad[i], error), 0);
        assert_int_equal(config_validate(&config, error), -1);
        config_free(&config);
    }
}

static void credentials_have_an_origin(void **state)
{
    (void)state;
    static const struct {
        const char *text, *what;
    } bad[] = {
        {"user = u\n", "a: origin: it is missing"},
        {"origin = h\nuser = u\n", "a: origin: expected SCHEME://HOST"},
        {"origin = https://u@h/\nuser = u\n", "a: origin: expected SCHEME://HOST"},
        {"origin = https://h/?a\nuser = u\n", "a: origin: an origin ends with a path"},
        {"origin = https://h/\n", "nothing to send"},
        {"origin = https://h/\npassword = p\n", "nothing to send"},
        {"origin = https://h/\nbearer-token = t\npassword = p\n", "password needs user"},
        {"origin = https://h/\nbearer-token = t\nuser = u\n", "either user and password or bearer-token"},
        {"origin = https://h/\nuser = u\nclient-key = k\n", "client-key needs client-certificate"},
        {"origin = https://h/\nuser = u\n[credentials b]\norigin = HTTPS://H:443\nuser = u\n", "b: another section"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct config config;
        char text[256];
        snprintf(text, sizeof text, "[slot a]\n[credentials a]\n%s", bad[i].text);
        assert_int_equal(config_parse(&config, "t", text, error), 0);
        assert_int_equal(config_validate(&config, error), -1);
        if (!strstr(error, bad[i].what))
            fail_msg("%s -> %s", text, error);
        config_free(&config);
    }
}

static void credentials_are_set_copied_and_read_back(void **state)
{
    (void)state;
    struct config config, copy, again;
    char *text = NULL;
    size_t size;
    config_default(&config);
    assert_int_equal(config_set(&config, "credentials.a.origin=https://h/prod/", error), 0);
    assert_int_equal(config_set(&config, "credentials.a.user=u", error), 0);
    assert_int_equal(config_set(&config, "credentials.b.origin=https://h/prod/a", error), 0);
    assert_int_equal(config_set(&config, "credentials.b.ssh-key=/k", error), 0);
    assert_int_equal(config_validate(&config, error), 0);
    config_copy(&copy, &config);
    config_free(&config);
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    config_dump(&copy, out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(text); /* what could not be written is not there */
    assert_int_equal(config_parse(&again, "dump", text, error), 0);
    assert_int_equal(again.credentials_count, 2);
    assert_string_equal(again.credentials[0].origin, "https://h/prod/");
    assert_string_equal(again.credentials[0].login.user, "u");
    assert_string_equal(again.credentials[1].name, "b");
    assert_string_equal(again.credentials[1].login.ssh_key, "/k");
    free(text);
    config_free(&copy);
    config_free(&again);
}

static void there_is_room_for_so_many(void **state)
{
    (void)state;
    struct config config;
    char assignment[64];
    config_default(&config);
    for (int i = 0; i <= CONFIG_CREDENTIALS_MAX; i++) {
        snprintf(assignment, sizeof assignment, "credentials.c%d.user=u", i);
        assert_int_equal(config_set(&config, assignment, error), i < CONFIG_CREDENTIALS_MAX ? 0 : -1);
    }
    config_free(&config);
}

static void bad_assignments_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "x", "daemon.x=1", "web.x=1", "slot.a=1", "slot.7.media=cd", "disk.a=1", "http.=1", "daemon.cache-size=x",
                                      "credentials.user=u", "credentials.a.media=cd", "credentials..user=u"};
    struct config config;
    config_default(&config);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(config_set(&config, bad[i], error), -1);
    config_free(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_valid_and_read_back),
        cmocka_unit_test(the_sample_is_the_default),
        cmocka_unit_test(long_values_and_semicolons_survive),
        cmocka_unit_test(comments_and_quotes_around_values),
        cmocka_unit_test(slots_override_http_in_any_order),
        cmocka_unit_test(errors_name_the_place_and_the_mend),
        cmocka_unit_test(protocols_are_a_set_of_words),
        cmocka_unit_test(secrets_are_not_shown),
        cmocka_unit_test(what_does_not_fit_together_is_refused),
        cmocka_unit_test(credentials_have_an_origin),
        cmocka_unit_test(credentials_are_set_copied_and_read_back),
        cmocka_unit_test(there_is_room_for_so_many),
        cmocka_unit_test(bad_assignments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
