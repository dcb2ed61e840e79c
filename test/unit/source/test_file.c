/* The file source keeps the contract, and refuses what is not an image. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "source/file.h"

#define SIZE (1000u * 1000 + 7)

static unsigned char content[SIZE];
static char folder[64], path[128];

static void write_image(void *arg)
{
    (void)arg;
    FILE *f = fopen(path, "w");
    assert_int_equal(fwrite(content, 1, SIZE, f), SIZE);
    fclose(f);
}

static int make_image(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/nbd-proxy-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/image", folder);
    for (unsigned i = 0; i < SIZE; i++)
        content[i] = (unsigned char)random();
    write_image(NULL);
    return 0;
}

static int remove_image(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static struct source *make_file(uv_loop_t *loop, void *context, void *arg)
{
    (void)context;
    struct file_source_options options = {.path = path, .writable = *(bool *)arg};
    return file_source_new(loop, "test", &options);
}

static void file_keeps_the_contract(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        bool writable = i == 1;
        struct contract contract = {
            .content = content, .size = SIZE, .writable = writable, .make = make_file, .restore = write_image, .arg = &writable};
        contract_check(&contract);
    }
}

static int opened_status, done_status, closed;

static void on_opened(struct source *source, int status)
{
    (void)source;
    opened_status = status;
}

static void on_closed(struct source *source)
{
    (void)source;
    closed++;
}

static void on_done(struct io *io)
{
    done_status = io->status;
    slices_clear(&io->data);
}

/* Opens, runs `op` on the whole range unless it is -1, closes; gives the opening's status. */
static int try_file(const struct file_source_options *options, int op, void (*meanwhile)(void), char *error)
{
    uv_loop_t loop;
    struct io io;
    test_loop_begin(&loop);
    struct source *source = file_source_new(&loop, "test", options);
    source->opened = on_opened;
    source->closed = on_closed;
    opened_status = 1;
    source_open(source);
    while (opened_status == 1)
        uv_run(&loop, UV_RUN_ONCE);
    if (opened_status == 0 && op >= 0) {
        if (meanwhile)
            meanwhile();
        io_init(&io, (enum io_op)op, 0, (uint32_t)source->size, on_done);
        done_status = 1;
        source_submit(source, &io);
        while (done_status == 1)
            uv_run(&loop, UV_RUN_ONCE);
    }
    if (error)
        strcpy(error, source->error);
    source_close(source);
    uv_run(&loop, UV_RUN_DEFAULT);
    source_free(source);
    test_loop_end(&loop);
    return opened_status;
}

static void shrink(void)
{
    assert_int_equal(truncate(path, 5000), 0);
}

static void a_file_that_shrinks_gives_eio(void **state)
{
    (void)state;
    struct file_source_options options = {.path = path};
    assert_int_equal(try_file(&options, IO_READ, shrink, NULL), 0);
    assert_int_equal(done_status, -EIO);
    write_image(NULL);
}

static void only_files_and_devices_open(void **state)
{
    (void)state;
    char error[SOURCE_ERROR_MAX], fifo[160];
    struct file_source_options options = {.path = folder};
    assert_true(try_file(&options, -1, NULL, error) < 0);
    options.path = "/dev/null";
    assert_int_equal(try_file(&options, -1, NULL, error), -EINVAL);
    options.path = "/nonexistent/x";
    assert_int_equal(try_file(&options, -1, NULL, error), -ENOENT);
    assert_non_null(strstr(error, "check the path"));
    snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    options.path = fifo;
    assert_int_equal(try_file(&options, -1, NULL, error), -EINVAL);
    unlink(fifo);
}

static void files_outside_the_directory_are_refused(void **state)
{
    (void)state;
    char error[SOURCE_ERROR_MAX], name[160];
    struct file_source_options options = {.path = path, .directory = folder};
    int status = try_file(&options, -1, NULL, error);
    if (status == -ENOSYS)
        skip(); /* a kernel before 5.6 has no openat2() */
    assert_int_equal(status, 0);
    options.path = "/etc/passwd";
    assert_int_equal(try_file(&options, -1, NULL, error), -EPERM);
    assert_non_null(strstr(error, "file-directory"));
    snprintf(name, sizeof name, "%s/../../etc/passwd", folder);
    options.path = name;
    assert_int_equal(try_file(&options, -1, NULL, error), -EPERM);
    snprintf(name, sizeof name, "%s/link", folder);
    assert_int_equal(symlink("/etc/passwd", name), 0);
    assert_int_equal(try_file(&options, -1, NULL, error), -EPERM);
    unlink(name);
    snprintf(name, sizeof name, "%s-other/image", folder);
    assert_int_equal(try_file(&options, -1, NULL, error), -EPERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_keeps_the_contract),
        cmocka_unit_test(a_file_that_shrinks_gives_eio),
        cmocka_unit_test(only_files_and_devices_open),
        cmocka_unit_test(files_outside_the_directory_are_refused),
    };
    return cmocka_run_group_tests(tests, make_image, remove_image);
}
