/* Who we are for which server: what the insert gave, the longest origin, the configured image, else nobody. */
#include <string.h>

#include "../cmocka_all.h"
#include "slot/slot_credentials.h"

static struct config config;
static struct slot_credentials credentials;

static void read_config(const char *text)
{
    char error[CONFIG_ERROR_MAX];
    if (config_parse(&config, "t", text, error) != 0 || config_validate(&config, error) != 0)
        fail_msg("%s", error);
    slot_credentials_read(&credentials, &config);
}

static int teardown(void **state)
{
    (void)state;
    slot_credentials_clear(&credentials);
    config_free(&config);
    return 0;
}

static struct slot_login choose(unsigned slot, const char *url, struct slot_insert_options options)
{
    struct slot_login login;
    slot_credentials_choose(&credentials, &config.slots[slot], url, &options, &login);
    return login;
}

static const struct slot_insert_options nothing = {.verify = -1};

/* Each may be NULL where nothing was chosen, and "" where the configuration has nothing. */
static bool is_nobody(const struct slot_login *login)
{
    const char *const all[] = {login->user, login->password, login->bearer_token,
                               login->client_cert, login->client_key, login->ssh_key};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] && *all[i])
            return false;
    return true;
}

static void the_slots_keys_are_for_its_image(void **state)
{
    (void)state;
    static const char *const others[] = {"https://images.example.com.evil/a", "http://images.example.com/a",
                                         "https://images.example.com:8443/a", "ftp://images.example.com/a",
                                         "ftps://images.example.com/a", "sftp://images.example.com/a",
                                         "smb://images.example.com/a/b", "nfs://images.example.com/a",
                                         "https://images.example.com@evil/a"};
    read_config("[http]\nuser = u\npassword = p\nclient-certificate = c\nclient-key = k\nssh-key = s\n"
                "[slot a]\nimage = https://images.example.com/prod/a.iso\n[slot b]\n[slot c]\nimage = /srv/a.iso\n");
    struct slot_login login = choose(0, "https://IMAGES.example.com:443/prod/a.iso", nothing);
    assert_string_equal(login.user, "u");
    assert_string_equal(login.client_cert, "c");
    assert_null(login.login_origin);
    for (unsigned slot = 0; slot < 3; slot++)
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            login = choose(slot, others[i], nothing);
            if (!is_nobody(&login))
                fail_msg("slot %u: %s", slot, others[i]);
        }
    login = choose(1, "https://images.example.com/prod/a.iso", nothing);
    assert_true(is_nobody(&login));
    login = choose(2, "https://images.example.com/prod/a.iso", nothing);
    assert_true(is_nobody(&login));
}

static void the_longest_origin_serves(void **state)
{
    (void)state;
    read_config("[slot a]\nuser = own\nimage = https://h/prod/a.iso\n"
                "[credentials all]\norigin = https://h\nuser = all\n"
                "[credentials prod]\norigin = https://h/prod/\nuser = prod\nclient-certificate = c\n"
                "[credentials below]\norigin = https://h/prod/a/b\nbearer-token = t\n"
                "[credentials nas]\norigin = smb://nas/images\nuser = DOMAIN\\u\n");
    struct slot_login login = choose(0, "https://h/prod/a.iso", nothing);
    assert_string_equal(login.section, "prod");
    assert_string_equal(login.user, "prod");
    assert_string_equal(login.login_origin, "https://h/prod/");
    assert_string_equal(choose(0, "https://h/prod/a/b/c", nothing).bearer_token, "t");
    assert_string_equal(choose(0, "https://h/prod/a/bc", nothing).section, "prod");
    assert_string_equal(choose(0, "https://h/prod-evil/", nothing).section, "all");
    assert_string_equal(choose(0, "https://h/prod/..%2fevil", nothing).section, "all");
    assert_string_equal(choose(0, "smb://nas/images/x.iso", nothing).user, "DOMAIN\\u");
    login = choose(0, "smb://nas/other/x.iso", nothing);
    assert_true(is_nobody(&login) && !login.section);
}

static void what_an_insert_gives_wins_as_a_whole(void **state)
{
    (void)state;
    read_config("[slot a]\n[credentials a]\norigin = https://h/prod\nuser = u\npassword = p\nclient-certificate = c\n");
    struct slot_insert_options given = {.user = "mine"};
    struct slot_login login = choose(0, "https://h/prod/x", given);
    assert_string_equal(login.user, "mine");
    assert_null(login.password);
    assert_null(login.login_origin);
    assert_string_equal(login.client_cert, "c");
    assert_string_equal(login.key_origin, "https://h/prod");
    login = choose(0, "https://evil/prod/x", given);
    assert_string_equal(login.user, "mine");
    assert_null(login.client_cert);
    given = (struct slot_insert_options){.bearer_token = "t"};
    login = choose(0, "https://h/prod/x", given);
    assert_null(login.user);
    assert_string_equal(login.bearer_token, "t");
    given = (struct slot_insert_options){.user = "", .password = ""};
    assert_string_equal(choose(0, "https://h/prod/x", given).user, "u");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_slots_keys_are_for_its_image, teardown),
        cmocka_unit_test_teardown(the_longest_origin_serves, teardown),
        cmocka_unit_test_teardown(what_an_insert_gives_wins_as_a_whole, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
