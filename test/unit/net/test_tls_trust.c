/* Whom a transfer trusts. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cmocka_all.h"
#include "net/tls_trust.h"

static void whom_a_transfer_trusts(void **state)
{
    (void)state;
    char path[] = "/tmp/test_trust_XXXXXX";
    struct trust trust;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "FILE", 4), 4);
    close(fd);
    trust_init(&trust, "", NULL);
    assert_null(trust.file);
    assert_null(trust.text);
    trust_init(&trust, path, "");
    assert_string_equal(trust.file, path);
    assert_null(trust.text); /* libcurl reads it */
    trust_clear(&trust);
    trust_init(&trust, path, "MORE");
    assert_string_equal(trust.text, "FILE\nMORE");
    trust_clear(&trust);
    unlink(path);
    trust_init(&trust, path, "MORE");
    assert_string_equal(trust.text, "\nMORE"); /* nobody else, rather than everybody */
    trust_clear(&trust);
    trust_init(&trust, NULL, "MORE"); /* beside the system's, which ends wherever it ends */
    assert_null(trust.file);
    assert_string_equal(trust.text + strlen(trust.text) - 5, "\nMORE");
    trust_clear(&trust);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whom_a_transfer_trusts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
