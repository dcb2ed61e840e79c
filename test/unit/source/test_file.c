/* The file source keeps the contract, and refuses what is not an image. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../block/contract.h"
#include "../cmocka_all.h"
#include "block/overlay.h"
#include "source/file.h"
#include "source/hidden.h"

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
    assert_int_equal(try_file(&options, -1, NULL, error), 0);
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

static uint64_t size_of(const char *name)
{
    struct stat st;
    return stat(name, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void a_missing_file_is_made(void **state)
{
    (void)state;
    char name[160];
    struct stat st;
    snprintf(name, sizeof name, "%s/new", folder);
    struct file_source_options options = {.path = name, .writable = true, .create_size = 1 << 30};
    mode_t mask = umask(0);
    assert_int_equal(try_file(&options, -1, NULL, NULL), 0);
    umask(mask);
    assert_int_equal(stat(name, &st), 0);
    assert_int_equal(st.st_size, 1 << 30);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(st.st_blocks < 100); /* sparse */
    options.create_size = 1 << 20;
    assert_int_equal(try_file(&options, -1, NULL, NULL), 0);
    assert_int_equal(size_of(name), 1 << 30); /* what is there keeps its size */
    assert_int_equal(truncate(name, 0), 0);
    assert_int_equal(try_file(&options, -1, NULL, NULL), 0);
    assert_int_equal(size_of(name), 1 << 20); /* its making was cut off */
    unlink(name);
    options.directory = folder;
    assert_int_equal(try_file(&options, -1, NULL, NULL), 0);
    unlink(name);
    options.writable = false;
    options.directory = NULL;
    assert_int_equal(try_file(&options, -1, NULL, NULL), -ENOENT);
    options.writable = true;
    options.create_size = INT64_MAX; /* more than any file system takes, or has */
    char error[SOURCE_ERROR_MAX];
    assert_true(try_file(&options, -1, NULL, error) < 0);
    assert_non_null(strstr(error, "as large as it must be"));
    unlink(name);
}

static bool remove_opened, replace_opened;

static void on_opened_to_remove(struct source *source, int status)
{
    on_opened(source, status);
    assert_int_equal(status, 0);
    file_source_remove_at_close(source, remove_opened);
    if (replace_opened) {
        char other[160];
        snprintf(other, sizeof other, "%s/other", folder);
        assert_int_equal(rename(other, path), 0);
    }
}

static void open_and_close(const struct file_source_options *options, void (*opened)(struct source *, int))
{
    uv_loop_t loop;
    test_loop_begin(&loop);
    struct source *source = file_source_new(&loop, "test", options);
    source->opened = opened;
    source->closed = on_closed;
    opened_status = 1;
    source_open(source);
    while (opened_status == 1)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(opened_status, 0);
    source_close(source);
    uv_run(&loop, UV_RUN_DEFAULT);
    source_free(source);
    test_loop_end(&loop);
}

static void closing_removes_what_it_should(void **state)
{
    (void)state;
    char name[160], other[160];
    snprintf(name, sizeof name, "%s/new", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    struct file_source_options options = {
        .path = name, .writable = true, .create_size = 1 << 20, .remove_at_close = true};
    open_and_close(&options, on_opened);
    assert_int_equal(access(name, F_OK), -1); /* made here */
    options.path = path;
    open_and_close(&options, on_opened);
    assert_int_equal(size_of(path), SIZE); /* was there */
    options.path = name;
    remove_opened = false;
    open_and_close(&options, on_opened_to_remove);
    assert_int_equal(size_of(name), 1 << 20); /* kept after all */
    assert_int_equal(rename(name, other), 0);
    options.path = path;
    remove_opened = replace_opened = true;
    open_and_close(&options, on_opened_to_remove);
    assert_int_equal(size_of(path), 1 << 20); /* another file has the name */
    replace_opened = false;
    open_and_close(&options, on_opened_to_remove);
    assert_int_equal(access(path, F_OK), -1);
    write_image(NULL);
}

/* --- a file as the store of an overlay --- */

static struct source *overlay_open_here(uv_loop_t *loop, const char *store, const char *boot_id)
{
    struct file_source_options lower = {.path = path};
    struct file_source_options changes = {.path = store, .writable = true, .create_size = overlay_store_size(SIZE)};
    struct overlay_options options = {.store_name = store, .boot_id = boot_id, .sync_at_close = true};
    struct source *source =
        overlay_source_new(file_source_new(loop, "test", &lower), file_source_new(loop, "test", &changes), &options);
    source->opened = on_opened;
    source->closed = on_closed;
    opened_status = 1;
    source_open(source);
    while (opened_status == 1)
        uv_run(loop, UV_RUN_ONCE);
    assert_int_equal(opened_status, 0);
    return source;
}

static void run_io(uv_loop_t *loop, struct source *source, struct io *io)
{
    done_status = 1;
    source_submit(source, io);
    while (done_status == 1)
        uv_run(loop, UV_RUN_ONCE);
    assert_int_equal(done_status, 0);
}

static unsigned char seen[SIZE];

static void on_seen(struct io *io)
{
    if (io->status == 0)
        slices_copy_out(&io->data, 0, seen, io->length);
    on_done(io);
}

static void an_overlay_is_kept_in_a_file(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct io io;
    char store[160];
    unsigned char model[100000];
    struct stat st;
    snprintf(store, sizeof store, "%s/overlay", folder);
    test_loop_begin(&loop);
    for (int life = 0; life < 3; life++) {
        char boot[16];
        snprintf(boot, sizeof boot, "boot %d", life / 2);
        struct source *source = overlay_open_here(&loop, store, boot);
        if (life == 0) {
            for (unsigned i = 0; i < sizeof model; i++)
                model[i] = (unsigned char)random();
            io_init(&io, IO_WRITE, 1234, sizeof model, on_done);
            slices_alloc(&io.data, sizeof model, 4096);
            slices_copy_in(&io.data, 0, model, sizeof model);
            run_io(&loop, source, &io);
        }
        io_init(&io, IO_READ, 0, SIZE, on_seen);
        run_io(&loop, source, &io);
        assert_memory_equal(seen, content, 1234);
        assert_memory_equal(seen + 1234, model, sizeof model);
        assert_memory_equal(seen + 1234 + sizeof model, content + 1234 + sizeof model, SIZE - 1234 - sizeof model);
        source_close(source);
        uv_run(&loop, UV_RUN_DEFAULT);
        source_free(source);
    }
    assert_int_equal(stat(store, &st), 0);
    assert_true((uint64_t)st.st_blocks * 512 < SIZE / 2); /* grows with what is written */
    test_loop_end(&loop);
    unlink(store);
}

/* From here on the kernel is one before 5.6, for all threads. */
static bool take_openat2_away(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0 &&
           syscall(SYS_openat2, -1, "", NULL, 0) == -1 && errno == ENOSYS;
}

/* The last: what was taken away does not come back. */
static void an_old_kernel_refuses_the_same(void **state)
{
    char error[SOURCE_ERROR_MAX], inner[160], name[200], link[160];
    struct file_source_options options = {.path = name, .directory = folder};
    if (!take_openat2_away())
        skip(); /* valgrind does not know how */
    files_outside_the_directory_are_refused(state);
    a_missing_file_is_made(state);
    snprintf(inner, sizeof inner, "%s/inner", folder);
    snprintf(link, sizeof link, "%s/outer", folder);
    assert_int_equal(mkdir(inner, 0700), 0);
    assert_int_equal(symlink(inner, link), 0);
    snprintf(name, sizeof name, "%s/image", inner);
    assert_int_equal(rename(path, name), 0);
    static const struct {
        const char *path;
        int status;
    } cases[] = {
        {"inner/image", 0},
        {"inner//image", 0},
        {"./inner/./image", 0},
        {"inner/none", -ENOENT},
        {"none/image", -ENOENT},
        {"outer/image", -ENOTDIR},
        {"inner/image/", -ENOTDIR},
        {"inner/../inner/image", -EPERM},
        {"inner/image/x", -ENOTDIR},
        {"/inner/image", -EPERM},
        {"inner/..", -EPERM},
        {"", -EPERM},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(name, sizeof name, "%s/%s", folder, cases[i].path);
        if (try_file(&options, -1, NULL, error) != cases[i].status)
            fail_msg("%s: %d", name, opened_status);
    }
    snprintf(name, sizeof name, "%s/image", inner);
    assert_int_equal(rename(name, path), 0);
    unlink(link);
    rmdir(inner);
}

static void what_a_service_does_not_see_is_said(void **state)
{
    (void)state;
    static const char service[] = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
                                  "22 21 8:1 /tmp/systemd-private-a-nbd-proxy.service-b/tmp /tmp rw - ext4 /dev/sda1 rw\n"
                                  "23 21 0:2 /systemd/inaccessible/dir /home ro - tmpfs tmpfs rw\n"
                                  "24 21 0:3 /@root /root rw - btrfs /dev/sdb rw\n"
                                  "25 21 0:4 / /var/tmp rw - tmpfs tmpfs rw";
    assert_non_null(strstr(hidden_hint_in("/tmp/a.iso", service), "PrivateTmp"));
    assert_non_null(strstr(hidden_hint_in("/home/me/a.iso", service), "ProtectHome"));
    assert_null(hidden_hint_in("/tmpfile", service));
    assert_null(hidden_hint_in("/root/a.iso", service));
    assert_null(hidden_hint_in("/var/tmp/a.iso", service));
    assert_null(hidden_hint_in("/srv/a.iso", service));
    assert_null(hidden_hint_in("/tmp/a.iso", ""));
    assert_null(hidden_hint_in("/tmp/a.iso", "22 21 0:3 /@tmp /tmp rw - btrfs /dev/sdb rw\n")); /* everybody's */
    hidden_hint("/tmp/a.iso"); /* whatever this machine has */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_service_does_not_see_is_said),
        cmocka_unit_test(file_keeps_the_contract),      cmocka_unit_test(a_file_that_shrinks_gives_eio),
        cmocka_unit_test(only_files_and_devices_open),  cmocka_unit_test(files_outside_the_directory_are_refused),
        cmocka_unit_test(a_missing_file_is_made),       cmocka_unit_test(closing_removes_what_it_should),
        cmocka_unit_test(an_overlay_is_kept_in_a_file), cmocka_unit_test(an_old_kernel_refuses_the_same),
    };
    return cmocka_run_group_tests(tests, make_image, remove_image);
}
