/* The URLs of NFS images, and paths on a server. */
#include <stdio.h>
#include <string.h>

#include "../../cmocka_all.h"
#include "remote/nfs/address.h"

static struct nfs_address parse(const char *url)
{
    struct nfs_address address;
    char error[NFS_ADDRESS_ERROR_MAX] = "";
    if (!nfs_address_parse(url, &address, error))
        fail_msg("%s: %s", url, error);
    return address;
}

static void refused(const char *url, const char *words)
{
    struct nfs_address address;
    char error[NFS_ADDRESS_ERROR_MAX] = "";
    if (nfs_address_parse(url, &address, error) || !strstr(error, words))
        fail_msg("%s: \"%s\"", url, error);
}

static void all_parts_are_read(void **state)
{
    (void)state;
    struct nfs_address a = parse("nfs://server.example/images/a%20b.iso");
    assert_string_equal(a.host, "server.example");
    assert_string_equal(a.path, "/images/a b.iso");
    assert_int_equal(a.version, 0);
    assert_int_equal(a.port, 0);
    assert_int_equal(a.mount_port, 0);
    assert_int_equal(a.uid, -1);
    assert_int_equal(a.gid, -1);
    a = parse("NFS://[2001:db8::1]:2050//images/./x/../a.iso?version=3&uid=0&gid=4294967294&mountport=20048");
    assert_string_equal(a.host, "2001:db8::1");
    assert_string_equal(a.path, "/images/a.iso");
    assert_int_equal(a.version, 3);
    assert_int_equal(a.port, 2050);
    assert_int_equal(a.mount_port, 20048);
    assert_int_equal(a.uid, 0);
    assert_int_equal(a.gid, 4294967294);
    assert_int_equal(parse("nfs://h/a?nfsport=12049").port, 12049);
    assert_string_equal(parse("nfs://h/a%2fb%2f..%2Fc").path, "/a/c");
}

static void what_is_mistyped_is_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"http://h/a", "not the URL of an NFS"},
        {"nfs:/h/a", "not the URL of an NFS"},
        {"nfs://h", "path is missing"},
        {"nfs://h/", "path is missing"},
        {"nfs://h/..", "path is missing"},
        {"nfs://h/a%00b", "can't be decoded"},
        {"nfs://h/a%0ab", "can't be decoded"},
        {"nfs://h/a#b", "#"},
        {"nfs://h%41/a", "host"},
        {"nfs://h\xc3\xa4/a", "host"},
        {"nfs://[fe80::1%25eth0]/a", "zone"},
        {"nfs://h:0/a", "port"},
        {"nfs://h:70000/a", "valid URL"},
        {"nfs://h:x/a", "valid URL"},
        {"nfs://h/a?version=2", "version must be"},
        {"nfs://h/a?version=4.1", "version must be"},
        {"nfs://h/a?version", "version must be"},
        {"nfs://h/a?version=3&version=3", "twice"},
        {"nfs://h/a?uid=me", "numbers"},
        {"nfs://h/a?uid=-1", "numbers"},
        {"nfs://h/a?gid=4294967295", "numbers"},
        {"nfs://h/a?uid=1&uid=2", "twice"},
        {"nfs://h/a?nfsport=0", "1 to 65535"},
        {"nfs://h:1/a?nfsport=2", "twice"},
        {"nfs://h/a?mountport=65536", "1 to 65535"},
        {"nfs://h/a?readahead=1", "arguments are"},
        {"nfs://h/a?Version=3", "arguments are"},
        {"nfs://h/a?version=3&x", "arguments are"},
        {"nfs://h/a?=", "arguments are"},
        {"nfs://h/a?uid=0000000000000000000000000000000000000000001", "too long"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i][0], cases[i][1]);
}

static void what_is_too_long_is_refused(void **state)
{
    (void)state;
    char url[3000], name[400];
    memset(name, 'n', sizeof name);
    snprintf(url, sizeof url, "nfs://%.256s/a", name);
    refused(url, "host's name is too long");
    snprintf(url, sizeof url, "nfs://h/%.256s", name);
    refused(url, "path is too long");
    snprintf(url, sizeof url, "nfs://h/%.255s/%.255s/%.255s/%.254s", name, name, name, name);
    assert_int_equal(strlen(parse(url).path), NFS_PATH_MAX - 1);
    snprintf(url, sizeof url, "nfs://h/%.255s/%.255s/%.255s/%.255s", name, name, name, name);
    refused(url, "path is too long");
    char *end = url + sprintf(url, "nfs://h");
    for (int i = 0; i < NFS_DEPTH_MAX; i++)
        end += sprintf(end, "/d");
    assert_int_equal(nfs_path_count(parse(url).path), NFS_DEPTH_MAX);
    strcpy(end, "/d");
    refused(url, "path is too long");
}

static void links_are_joined_as_their_text_says(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"/a/b", "c", "/a/b/c"},
        {"/a/b", "../c/d", "/a/c/d"},
        {"/a/b", "/c", "/c"},
        {"/a", "../../../c", "/c"},
        {"/", "c/", "/c"},
        {"/a", ".", "/a"},
        {"/a", "..", "/"},
        {"/a", "...", "/a/..."},
        {"/a", "./b/./../c", "/a/c"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[NFS_PATH_MAX];
        assert_true(nfs_path_join(cases[i][0], cases[i][1], out));
        assert_string_equal(out, cases[i][2]);
    }
}

static void paths_come_apart(void **state)
{
    (void)state;
    static const char *const heads[] = {"/", "/a", "/a/bc", "/a/bc/d"}, *const names[] = {"a", "bc", "d", ""};
    char out[NFS_PATH_MAX], name[NFS_NAME_MAX];
    assert_int_equal(nfs_path_count("/a/bc/d"), 3);
    assert_int_equal(nfs_path_count("/"), 0);
    for (unsigned i = 0; i < 4; i++) {
        nfs_path_head("/a/bc/d", i, out);
        assert_string_equal(out, heads[i]);
        nfs_path_name("/a/bc/d", i, name);
        assert_string_equal(name, names[i]);
    }
    nfs_path_head("/", 0, out);
    assert_string_equal(out, "/");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_parts_are_read),
        cmocka_unit_test(what_is_mistyped_is_refused),
        cmocka_unit_test(what_is_too_long_is_refused),
        cmocka_unit_test(links_are_joined_as_their_text_says),
        cmocka_unit_test(paths_come_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
