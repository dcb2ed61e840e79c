/* Secrets, passwords and their hashes, roles, the audit log's lines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"
#include "accounts.h"
#include "auth/audit.h"
#include "auth/password.h"
#include "auth/role.h"
#include "auth/secret.h"
#include "auth/verified.h"

/* RFC 4648, section 10, in the alphabet of section 5 and without padding. */
static void base64url_is_the_standards(void **state)
{
    (void)state;
    static const char *const vectors[][2] = {
        {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff", "-_8"}};
    char out[16];
    for (unsigned i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        secret_encode(vectors[i][0], strlen(vectors[i][0]), out);
        assert_string_equal(out, vectors[i][1]);
    }
}

static void digests_are_the_standards(void **state)
{
    (void)state;
    /* FIPS 180-2, appendix B.1: "abc" */
    static const unsigned char abc[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                                        0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                                        0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    unsigned char digest[SECRET_DIGEST];
    secret_digest("abc", digest);
    assert_memory_equal(digest, abc, sizeof abc);
}

static void a_mac_keeps_its_parts_apart(void **state)
{
    (void)state;
    unsigned char key[SECRET_BYTES] = {1}, other[SECRET_BYTES] = {2};
    unsigned char a[SECRET_DIGEST], b[SECRET_DIGEST];
    const char *ab_c[] = {"ab", "c"}, *a_bc[] = {"a", "bc"};
    char huge[SECRET_PART_MAX + 8];
    assert_true(secret_mac(key, ab_c, 2, a));
    assert_true(secret_mac(key, a_bc, 2, b));
    assert_false(secret_equal(a, b, sizeof a));
    assert_true(secret_mac(other, ab_c, 2, b));
    assert_false(secret_equal(a, b, sizeof a));
    assert_true(secret_mac(key, ab_c, 2, b));
    assert_true(secret_equal(a, b, sizeof a));
    memset(huge, 'x', sizeof huge);
    huge[sizeof huge - 1] = '\0';
    const char *too_much[] = {"a", huge};
    assert_false(secret_mac(key, too_much, 2, a));
}

static void tokens_are_unlike(void **state)
{
    (void)state;
    char a[SECRET_TEXT], b[SECRET_TEXT];
    secret_token(a);
    secret_token(b);
    assert_int_equal(strlen(a), SECRET_TEXT - 1);
    assert_string_not_equal(a, b);
    assert_int_equal(strspn(a, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), SECRET_TEXT - 1);
}

static void a_hash_matches_its_password_only(void **state)
{
    (void)state;
    char hash[PASSWORD_HASH_MAX], again[PASSWORD_HASH_MAX], setting[PASSWORD_HASH_MAX];
    assert_true(password_hash("correct horse", CHEAP, hash));
    assert_memory_equal(hash, "$y$", 3);
    assert_true(password_hash_valid(hash));
    assert_true(password_matches("correct horse", hash));
    assert_false(password_matches("correct horsE", hash));
    assert_false(password_matches("", hash));
    assert_true(password_hash("correct horse", CHEAP, again));
    assert_string_not_equal(hash, again); /* another salt */
    assert_true(password_setting(CHEAP, setting));
    assert_false(password_hash_valid(setting));
    assert_false(password_matches("", setting));
}

/* A hash that another program has made: openssl passwd -6 -salt saltstring. */
static void sha512_hashes_are_read(void **state)
{
    (void)state;
    /* Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512", test vectors */
    static const char hash[] =
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
    assert_true(password_hash_valid(hash));
    assert_true(password_matches("Hello world!", hash));
    assert_false(password_matches("Hello world?", hash));
}

static void what_is_no_hash_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "*",
        "!",
        "x",
        "$y$",
        "$6$",
        "$6$saltstring$",
        "$y$j9T$abcdefghijklmnopqrstu.$",
        "$1$abcdefgh$0123456789012345678901",                           /* MD5 */
        "$2b$10$abcdefghijklmnopqrstuuN2l0tYdKMrbJ1kXbkKOzFTMP5mYtq1e", /* bcrypt */
        "ab0123456789.",                                                /* DES */
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz",
        "$6$salt:string$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (password_hash_valid(bad[i]))
            fail_msg("taken: %s", bad[i]);
}

static void new_passwords_have_rules(void **state)
{
    (void)state;
    char why[128], longest[PASSWORD_MAX + 2];
    assert_true(password_allowed("12345678", 8, why, sizeof why));
    assert_false(password_allowed("1234567", 8, why, sizeof why));
    assert_non_null(strstr(why, "8 characters"));
    assert_true(password_allowed("\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", 4, why, sizeof why)); /* four characters */
    assert_false(password_allowed("\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", 5, why, sizeof why));
    assert_false(password_allowed("1234\n5678", 8, why, sizeof why));
    assert_false(password_allowed("1234\x7f"
                                  "5678",
                                  8, why, sizeof why));
    assert_false(password_allowed("", 0, why, sizeof why));
    memset(longest, 'x', sizeof longest);
    longest[PASSWORD_MAX + 1] = '\0';
    assert_false(password_allowed(longest, 8, why, sizeof why));
    longest[PASSWORD_MAX] = '\0';
    assert_true(password_allowed(longest, 8, why, sizeof why));
    for (int i = 0; i < 100; i++) {
        char made[PASSWORD_RANDOM_LENGTH + 1];
        password_random(made);
        assert_int_equal(strlen(made), PASSWORD_RANDOM_LENGTH);
        assert_null(strpbrk(made, "0O1lI"));
    }
}

static void a_verified_password_is_known_until_it_ends(void **state)
{
    (void)state;
    struct verified *v = verified_new(1000);
    char name[16];
    assert_false(verified_has(v, 10, "anna", "secret"));
    verified_add(v, 10, "anna", "secret");
    assert_true(verified_has(v, 10, "anna", "secret"));
    assert_true(verified_has(v, 1009, "anna", "secret"));
    assert_false(verified_has(v, 20, "anna", "secret2"));
    assert_false(verified_has(v, 20, "bert", "secret"));
    assert_false(verified_has(v, 20, "annas", "ecret"));
    verified_add(v, 500, "anna", "secret"); /* it is there: its end stays */
    assert_false(verified_has(v, 1010, "anna", "secret"));
    verified_add(v, 2000, "anna", "secret");
    verified_drop(v, "anna");
    assert_false(verified_has(v, 2000, "anna", "secret"));
    for (int i = 0; i < VERIFIED_MAX + 1; i++) {
        snprintf(name, sizeof name, "u%d", i);
        verified_add(v, 3000 + (uint64_t)i, name, "secret");
    }
    assert_false(verified_has(v, 3100, "u0", "secret")); /* the oldest made room */
    assert_true(verified_has(v, 3100, "u1", "secret"));
    assert_true(verified_has(v, 3100, name, "secret"));
    verified_free(v);
}

static void roles_have_the_standards_privileges(void **state)
{
    (void)state;
    static const unsigned all =
        AUTH_LOGIN | AUTH_CONFIGURE_SELF | AUTH_CONFIGURE_COMPONENTS | AUTH_CONFIGURE_MANAGER | AUTH_CONFIGURE_USERS;
    enum auth_role role;
    assert_int_equal(auth_role_privileges(AUTH_ADMINISTRATOR), all);
    assert_int_equal(auth_role_privileges(AUTH_OPERATOR), AUTH_LOGIN | AUTH_CONFIGURE_SELF | AUTH_CONFIGURE_COMPONENTS);
    assert_int_equal(auth_role_privileges(AUTH_READ_ONLY), AUTH_LOGIN | AUTH_CONFIGURE_SELF);
    assert_true(auth_allows(AUTH_OPERATOR, AUTH_CONFIGURE_COMPONENTS | AUTH_LOGIN));
    assert_false(auth_allows(AUTH_OPERATOR, AUTH_CONFIGURE_COMPONENTS | AUTH_CONFIGURE_MANAGER));
    assert_false(auth_allows(AUTH_READ_ONLY, AUTH_CONFIGURE_COMPONENTS));
    assert_false(auth_allows(AUTH_ADMINISTRATOR, 0));
    assert_false(auth_allows(AUTH_ADMINISTRATOR, AUTH_LOGIN | 1u << AUTH_PRIVILEGES));
    for (unsigned i = 0; i < AUTH_ROLES; i++) {
        assert_true(auth_role_parse(auth_role_name((enum auth_role)i), &role));
        assert_int_equal(role, i);
    }
    assert_false(auth_role_parse("administrator", &role));
    assert_false(auth_role_parse("", &role));
    for (unsigned i = 0; i < AUTH_PRIVILEGES; i++)
        assert_non_null(auth_privilege_name((enum auth_privilege)(1u << i)));
}

static void the_audit_log_can_not_be_forged(void **state)
{
    (void)state;
    char lengthy[300];
    memset(lengthy, '\n', sizeof lengthy);
    lengthy[sizeof lengthy - 1] = '\0';
    log_capture();
    auth_audit(AUDIT_LOGIN_OK, "admin", "192.0.2.1", NULL, "basic");
    auth_audit(AUDIT_USER, "eve\" peer=\"10.0.0.1\" \n\x1b[2J%41\\\xc2\x9b", "fe80::1%eth0", "bob", NULL);
    auth_audit(AUDIT_INSERT, NULL, lengthy, lengthy, lengthy);
    char *log = log_captured();
    assert_non_null(strstr(log, "audit: login ok: user=\"admin\" peer=\"192.0.2.1\" detail=\"basic\"\n"));
    assert_non_null(strstr(log, "audit: account changed: user=\"eve%22 peer=%2210.0.0.1%22 %0a%1b[2J%2541%5c%c2%9b\" "
                                "peer=\"fe80::1%25eth0\" subject=\"bob\"\n"));
    assert_non_null(strstr(log, "audit: insert: peer=\"%0a"));
    assert_non_null(strstr(log, "%0a...\"\n"));
    unsigned lines = 0;
    for (const char *p = log; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 3);
    free(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64url_is_the_standards),
        cmocka_unit_test(digests_are_the_standards),
        cmocka_unit_test(a_mac_keeps_its_parts_apart),
        cmocka_unit_test(tokens_are_unlike),
        cmocka_unit_test(a_hash_matches_its_password_only),
        cmocka_unit_test(sha512_hashes_are_read),
        cmocka_unit_test(what_is_no_hash_is_refused),
        cmocka_unit_test(new_passwords_have_rules),
        cmocka_unit_test(a_verified_password_is_known_until_it_ends),
        cmocka_unit_test(roles_have_the_standards_privileges),
        cmocka_unit_test(the_audit_log_can_not_be_forged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
