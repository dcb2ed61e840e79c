/* A slot with a fake kernel: restarts, sweeps, failures, and what is written down. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "slot_rig.h"

static void a_medium_that_can_not_be_taken_out_is_swept_before_the_next(void **unused)
{
    (void)unused;
    struct rig rig;
    fake_kernel_reset();
    slot_rig_start(&rig, 1);
    slot_rig_run(&rig);
    slot_rig_bring_ready(&rig);
    fake_kernel_fail(FAKE_DISCONNECT);
    slot_rig_eject(&rig);
    until(&rig, slot_rig_settled(&rig));
    assert_true(fake_kernel_connected(0));
    fake_kernel_fail(FAKE_NONE);
    slot_rig_insert(&rig, image);
    until(&rig, rig.inserted >= 0);
    assert_int_equal(rig.inserted, 0);
    slot_rig_stop(&rig);
}

static void a_failure_says_what_the_kernel_said(void **unused)
{
    (void)unused;
    struct rig rig;
    struct slot_status status;
    fake_kernel_reset();
    slot_rig_start(&rig, 1);
    slot_rig_run(&rig);
    until(&rig, slot_rig_settled(&rig));
    fake_kernel_fail(FAKE_INSERT);
    slot_rig_insert(&rig, image);
    until(&rig, rig.inserted >= 0);
    assert_int_equal(rig.inserted, EIO);
    slot_get_status(slot_rig_slot(&rig), &status);
    assert_string_equal(status.error, "the kernel fails");
    assert_int_equal(status.state, SLOT_EMPTY);
    assert_false(fake_kernel_connected(0));
    slot_rig_stop(&rig);
}

/* Each attach job holds a thread until a read of a file source has had another. */
static void attaching_many_slots_that_read_does_not_deadlock(void **unused)
{
    (void)unused;
    struct rig rig;
    struct slot_insert_options options = {.verify = -1, .writable = -1};
    fake_kernel_reset();
    fake_kernel_read_at_connect(true);
    slot_rig_start(&rig, CONFIG_SLOTS_MAX);
    slot_rig_run(&rig);
    for (unsigned i = 0; i < CONFIG_SLOTS_MAX; i++)
        slot_insert(slots_get(rig.slots, i), image, &options, slot_ignore_done, NULL);
    for (unsigned i = 0; i < CONFIG_SLOTS_MAX; i++)
        until(&rig, slots_get(rig.slots, i)->state == SLOT_READY);
    assert_int_equal(fake_kernel_reads(), CONFIG_SLOTS_MAX);
    slot_rig_stop(&rig);
}

static void devices_of_before_are_swept_and_of_others_are_not(void **unused)
{
    (void)unused;
    struct rig rig;
    fake_kernel_reset();
    fake_kernel_connect_as(0, "nbd-proxy:s0");
    fake_kernel_connect_as(5, "somebody");
    slot_rig_start(&rig, 1);
    slot_rig_run(&rig);
    until(&rig, slot_rig_settled(&rig));
    assert_false(fake_kernel_connected(0));
    assert_true(fake_kernel_connected(5));
    fake_kernel_connect_as(5, "");
    slot_rig_stop(&rig);
}

static void a_medium_of_before_a_restart_goes_on(void **unused)
{
    (void)unused;
    struct rig rig;
    slot_rig_write_media(image, IMAGE_SIZE);
    fake_kernel_reset();
    fake_kernel_connect_as(0, "nbd-proxy:s0");
    fake_kernel_fail(FAKE_CONNECT); /* only reconnecting will do */
    slot_rig_start(&rig, 1);
    slot_rig_run(&rig);
    until(&rig, slot_rig_state(&rig) == SLOT_READY);
    assert_true(fake_kernel_connected(0));
    slot_rig_stop(&rig);
}

static void a_connection_that_died_is_replaced(void **unused)
{
    (void)unused;
    struct rig rig;
    fake_kernel_reset();
    slot_rig_start(&rig, 1);
    slot_rig_run(&rig);
    slot_rig_bring_ready(&rig);
    slot_rig_slot(&rig)->device.lost = 1; /* as the kernel's news would have it */
    fake_kernel_hold(FAKE_RECONNECT);
    slot_step(slot_rig_slot(&rig));
    until(&rig, fake_kernel_held());
    assert_int_equal(slot_rig_state(&rig), SLOT_READY);
    slot_rig_eject(&rig);
    fake_kernel_release();
    until(&rig, slot_rig_settled(&rig));
    assert_int_equal(rig.ejected, 0);
    slot_rig_stop(&rig);
}

static void a_device_that_is_gone_is_made_anew(void **unused)
{
    (void)unused;
    struct rig rig;
    slot_rig_write_media(image, IMAGE_SIZE);
    fake_kernel_reset();
    slot_rig_start(&rig, 1);
    slot_rig_run(&rig);
    until(&rig, slot_rig_state(&rig) == SLOT_READY);
    assert_true(fake_kernel_connected(0));
    slot_rig_stop(&rig);
}

static void a_medium_that_is_still_to_go_on_stays_in_the_file(void **unused)
{
    (void)unused;
    struct rig rig;
    char text[80], error[SLOT_ERROR_MAX];
    snprintf(text, sizeof text, "%s-late", image);
    slot_rig_write_media(text, IMAGE_SIZE);
    fake_kernel_reset();
    fake_kernel_connect_as(0, "nbd-proxy:s0");
    slot_rig_start(&rig, 1);
    slot_rig_run(&rig);
    until(&rig, slot_rig_settled(&rig) && slot_restoring(slot_rig_slot(&rig))); /* the image is not there yet */
    until(&rig, strstr(slot_rig_read_state(), "-late") && !strstr(slot_rig_read_state(), "lost"));
    assert_true(fake_kernel_connected(0));
    assert_int_equal(slot_browser_problem(slot_rig_slot(&rig), "", NULL, error), 0); /* a question decides nothing */
    assert_int_equal(symlink(image, text), 0);
    until(&rig, slot_rig_state(&rig) == SLOT_READY);
    unlink(text);
    slot_rig_stop(&rig);
}

static void another_image_does_not_go_on(void **unused)
{
    (void)unused;
    struct rig rig;
    slot_rig_write_media(image, 77);
    fake_kernel_reset();
    fake_kernel_connect_as(0, "nbd-proxy:s0");
    slot_rig_start(&rig, 1);
    slot_rig_run(&rig);
    until(&rig, slot_rig_settled(&rig) && !slot_restoring(slot_rig_slot(&rig)));
    assert_false(fake_kernel_connected(0));
    slot_rig_stop(&rig);
}

/* The network is not there when the machine starts, nor the share with the image. */
static void a_configured_image_is_tried_until_it_is_in(void **unused)
{
    (void)unused;
    struct rig rig;
    struct slot_status status;
    char late[80], text[128];
    snprintf(late, sizeof late, "%s-configured", image);
    snprintf(text, sizeof text, "slot.s0.image=%s", late);
    fake_kernel_reset();
    slot_rig_start(&rig, 1);
    slot_rig_set(&rig, text);
    slot_rig_run(&rig);
    until(&rig, slot_rig_settled(&rig) && slot_rig_slot(&rig)->retry.tries == 1);
    slot_get_status(slot_rig_slot(&rig), &status);
    assert_string_equal(status.awaited, late);
    assert_true(*status.error && status.awaited_ms > 0 && status.awaited_ms <= SLOT_RETRY_FIRST_MS);
    assert_int_equal(symlink(image, late), 0);
    until(&rig, slot_rig_state(&rig) == SLOT_READY);
    slot_get_status(slot_rig_slot(&rig), &status);
    assert_string_equal(status.awaited, "");
    assert_string_equal(status.error, "");
    unlink(late);
    slot_rig_stop(&rig);
}

static void somebody_else_ends_the_tries(void **unused)
{
    (void)unused;
    for (int inserts = 0; inserts < 2; inserts++) {
        struct rig rig;
        char text[128];
        snprintf(text, sizeof text, "slot.s0.image=%s-nowhere", image);
        fake_kernel_reset();
        slot_rig_start(&rig, 1);
        slot_rig_set(&rig, text);
        slot_rig_run(&rig);
        if (inserts) { /* before the first try has ended */
            slot_rig_insert(&rig, image);
            until(&rig, rig.inserted >= 0);
            assert_int_equal(rig.inserted, 0);
            assert_int_equal(slot_rig_state(&rig), SLOT_READY);
        } else {
            until(&rig, slot_rig_settled(&rig) && slot_rig_slot(&rig)->retry.tries == 1);
            slot_rig_eject(&rig);
            until(&rig, rig.ejected == 0);
        }
        assert_int_equal(slot_rig_slot(&rig)->retry.kind, RETRY_NOTHING);
        assert_false(uv_is_active((uv_handle_t *)&slot_rig_slot(&rig)->retry.timer));
        slot_rig_stop(&rig);
    }
}

static void what_can_not_be_a_source_is_not_tried_again(void **unused)
{
    (void)unused;
    struct rig rig;
    fake_kernel_reset();
    slot_rig_start(&rig, 1);
    slot_rig_set(&rig, "slot.s0.image=https:///image");
    slot_rig_run(&rig);
    until(&rig, slot_rig_settled(&rig) && slot_rig_slot(&rig)->retry.kind == RETRY_NOTHING);
    assert_non_null(strstr(slot_rig_slot(&rig)->error, "not a valid URL"));
    slot_rig_stop(&rig);
}

static void on_said(void *arg, int status, const char *error)
{
    int *result = arg;
    (void)error;
    *result = status;
}

/* A client that lost patience asks again for what is going in: it is no error, and another image is one. */
static void the_same_insert_again_waits_with_the_first(void **unused)
{
    (void)unused;
    struct rig rig;
    struct slot_insert_options said = {.verify = 1, .writable = 0}; /* what is the default anyway */
    int first, second = 1;
    fake_kernel_reset();
    slot_rig_start(&rig, 1);
    slot_rig_run(&rig);
    until(&rig, slot_rig_settled(&rig));
    fake_kernel_hold(FAKE_CONNECT);
    slot_rig_insert(&rig, image);
    until(&rig, fake_kernel_held());
    slot_rig_insert(&rig, other_image);
    until(&rig, rig.inserted >= 0);
    assert_int_equal(rig.inserted, EBUSY);
    slot_rig_insert(&rig, image);
    for (int i = 0; i < 50; i++)
        slot_rig_turn(&rig);
    first = rig.inserted;
    slot_insert(slot_rig_slot(&rig), image, &said, on_said, &second);
    fake_kernel_release();
    until(&rig, rig.inserted >= 0);
    until(&rig, second <= 0);
    assert_int_equal(first, -1);
    assert_int_equal(rig.inserted, 0);
    assert_int_equal(second, 0);
    slot_rig_stop(&rig);
}

static void a_damaged_state_file_is_no_reason_to_fail(void **unused)
{
    (void)unused;
    static const char *const texts[] = {"", "{", "[]", "{\"version\": 1}", "{\"version\": 1, \"slots\": [1, {}, {\"slot\": 3}]}",
                                        "{\"version\": 9, \"slots\": [{\"slot\": \"s0\", \"url\": \"/x\"}]}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct rig rig;
        slot_rig_write_state(texts[i]);
        fake_kernel_reset();
        slot_rig_start(&rig, 1);
        slot_rig_run(&rig);
        until(&rig, slot_rig_settled(&rig));
        slot_rig_stop(&rig);
    }
}

static void the_state_file_has_what_is_in_and_no_secrets(void **unused)
{
    (void)unused;
    struct rig rig;
    struct slot_insert_options options = {.user = "u", .password = "CANARY", .verify = -1, .writable = -1};
    struct stat st;
    char path[96];
    fake_kernel_reset();
    slot_rig_start(&rig, 1);
    slot_rig_run(&rig);
    until(&rig, slot_rig_settled(&rig));
    slot_rig_insert(&rig, image);
    until(&rig, strstr(slot_rig_read_state(), image));
    snprintf(path, sizeof path, "%s/state.json", slot_folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    slot_rig_eject(&rig);
    until(&rig, !strstr(slot_rig_read_state(), image));
    slot_insert(slot_rig_slot(&rig), image, &options, slot_ignore_done, NULL);
    until(&rig, strstr(slot_rig_read_state(), "secret"));
    assert_null(strstr(slot_rig_read_state(), "CANARY"));
    assert_null(strstr(slot_rig_read_state(), image));
    slot_rig_stop(&rig);
}

static void reload(struct rig *rig, const char *assignment)
{
    char error[CONFIG_ERROR_MAX];
    slot_rig_set(rig, assignment);
    assert_int_equal(slots_reload(rig->slots, &rig->config, error), 0);
}

/* What is of the old configuration in the kernel is still being taken away. */
static void the_last_of_several_reloads_counts(void **unused)
{
    (void)unused;
    struct rig rig;
    fake_kernel_reset();
    slot_rig_start(&rig, 1);
    slot_rig_set(&rig, "slot.s0.usb-product=first");
    slot_rig_run(&rig);
    until(&rig, slot_rig_settled(&rig));
    fake_kernel_hold(FAKE_REMOVE);
    reload(&rig, "slot.s0.usb-product=second");
    until(&rig, fake_kernel_held());
    reload(&rig, "slot.s0.usb-product=first");
    fake_kernel_release();
    until(&rig, slot_rig_settled(&rig));
    assert_string_equal(slot_rig_slot(&rig)->device.gadget.product, "first");
    slot_rig_stop(&rig);
}

static void a_medium_stays_in_when_a_reload_does_not_change_its_slot(void **unused)
{
    (void)unused;
    struct rig rig;
    fake_kernel_reset();
    slot_rig_start(&rig, 2);
    slot_rig_run(&rig);
    slot_rig_bring_ready(&rig);
    fake_kernel_hold(FAKE_EJECT); /* nobody may ask for that */
    reload(&rig, "slot.s1.usb-product=other");
    until(&rig, strcmp(slots_get(rig.slots, 1)->device.gadget.product, "other") == 0);
    assert_int_equal(slot_rig_state(&rig), SLOT_READY);
    assert_false(fake_kernel_held());
    fake_kernel_release();
    slot_rig_stop(&rig);
}

static void insert_until(struct rig *rig, enum slot_until until_what)
{
    until(rig, slot_rig_settled(rig));
    slot_rig_insert(rig, image);
    until(rig, rig->inserted == 0);
    slot_set_stay(slot_rig_slot(rig), 0, until_what, NULL);
}

static void a_medium_that_the_host_ejects_goes_if_it_was_to(void **unused)
{
    (void)unused;
    for (int kept = 0; kept < 2; kept++) {
        struct rig rig;
        char gadget[CONFIG_GADGET_MAX];
        fake_kernel_reset();
        slot_rig_start(&rig, 1);
        slot_rig_run(&rig);
        insert_until(&rig, kept ? SLOT_UNTIL_EJECTED : SLOT_UNTIL_USED);
        snprintf(gadget, sizeof gadget, "%s", slot_rig_slot(&rig)->device.gadget.name);
        assert_int_equal(uv_is_active((uv_handle_t *)&slot_rig_slot(&rig)->used_timer), !kept);
        fake_kernel_host_ejects(gadget);
        if (kept)
            for (int i = 0; i < 1200; i++) /* longer than SLOT_USED_MS */
                slot_rig_turn(&rig);
        else
            until(&rig, slot_rig_settled(&rig));
        assert_int_equal(slot_rig_state(&rig), kept ? SLOT_READY : SLOT_EMPTY);
        slot_rig_stop(&rig);
    }
}

static void a_medium_of_a_host_that_was_off_already_stays_until_it_is_off_again(void **unused)
{
    (void)unused;
    struct rig rig;
    fake_kernel_reset();
    slot_rig_start(&rig, 1);
    slot_rig_run(&rig);
    insert_until(&rig, SLOT_UNTIL_POWER_OFF);
    slot_tell_power(slot_rig_slot(&rig), false);
    assert_true(slot_rig_slot(&rig)->wanted);
    slot_tell_power(slot_rig_slot(&rig), true);
    slot_tell_power(slot_rig_slot(&rig), true);
    assert_true(slot_rig_slot(&rig)->wanted);
    slot_tell_power(slot_rig_slot(&rig), false);
    until(&rig, slot_rig_settled(&rig));
    insert_until(&rig, SLOT_UNTIL_EJECTED); /* what was known of the last one is not held against another */
    slot_tell_power(slot_rig_slot(&rig), true);
    slot_tell_power(slot_rig_slot(&rig), false);
    assert_true(slot_rig_slot(&rig)->wanted);
    slot_rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_medium_that_can_not_be_taken_out_is_swept_before_the_next),
        cmocka_unit_test(a_failure_says_what_the_kernel_said),
        cmocka_unit_test(attaching_many_slots_that_read_does_not_deadlock),
        cmocka_unit_test(devices_of_before_are_swept_and_of_others_are_not),
        cmocka_unit_test(a_medium_of_before_a_restart_goes_on),
        cmocka_unit_test(a_connection_that_died_is_replaced),
        cmocka_unit_test(a_device_that_is_gone_is_made_anew),
        cmocka_unit_test(a_medium_that_is_still_to_go_on_stays_in_the_file),
        cmocka_unit_test(another_image_does_not_go_on),
        cmocka_unit_test(a_configured_image_is_tried_until_it_is_in),
        cmocka_unit_test(somebody_else_ends_the_tries),
        cmocka_unit_test(what_can_not_be_a_source_is_not_tried_again),
        cmocka_unit_test(the_same_insert_again_waits_with_the_first),
        cmocka_unit_test(a_damaged_state_file_is_no_reason_to_fail),
        cmocka_unit_test(the_state_file_has_what_is_in_and_no_secrets),
        cmocka_unit_test(the_last_of_several_reloads_counts),
        cmocka_unit_test(a_medium_stays_in_when_a_reload_does_not_change_its_slot),
        cmocka_unit_test(a_medium_that_the_host_ejects_goes_if_it_was_to),
        cmocka_unit_test(a_medium_of_a_host_that_was_off_already_stays_until_it_is_off_again),
    };
    return cmocka_run_group_tests(tests, slot_rig_set_up, slot_rig_tear_down);
}
