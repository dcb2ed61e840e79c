/* Mount and Unmount of the service for bmcweb, and how they end. See internal.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/bmcweb/internal.h"
#include "auth/audit.h"
#include "base/log.h"
#include "base/text.h"
#include "base/work.h"
#include "net/socket.h"

/* The words that clients of these interfaces know. */
#define WORDS_READY     "Operation not permitted in ready state"
#define WORDS_ACTIVE    "Operation not permitted in active state"
#define WORDS_BUSY      "Resource is busy"
#define WORDS_MALFORMED "Malformed extra data"
#define WORDS_IO        "I/O error on temporary file"

struct bmcweb_op {
    struct link link; /* in bmcweb->ops */
    struct bmcweb *bmcweb;
    struct bmcweb_object *object; /* NULL: the object is gone */
    enum bmcweb_kind kind;
    char path[sizeof((struct bmcweb_object *)0)->path];
    bool mounts;
    int refused; /* an errno: its browser is turned away, and the object does not know of it; 0: it is not */
    bool begun; /* the slot will end it */
    bool given_up;
    uint64_t until, answer_by; /* loop time */
    sd_bus_message *call; /* NULL: answered with true, and a Completion is owed; or the bus is gone */
    /* Used until the op is begun. */
    struct credentials_reader *reader;
    struct proxy_ask *ask;
    char *url;
    int writable;
};

/* Somebody is asked to connect, see dbus_connect_by(). */
struct proxy_ask {
    struct work work;
    struct bmcweb_op *op; /* NULL: the op is gone */
    unsigned number;
    int fd; /* or a negative errno */
};

static int (*connect_by)(unsigned slot);

void bmcweb_connect_by(int (*connect)(unsigned slot))
{
    connect_by = connect;
}

static struct bmcweb_op *op_new(struct bmcweb_object *object, bool mounts, int refused, sd_bus_message *call)
{
    struct bmcweb_op *op = mem_alloc(sizeof *op);
    op->bmcweb = object->bmcweb;
    op->object = object;
    op->kind = object->facts.kind;
    snprintf(op->path, sizeof op->path, "%s", object->path);
    op->mounts = mounts;
    op->until = uv_now(op->bmcweb->loop) + (uint64_t)object->facts.timeout_s * 1000;
    op->call = sd_bus_message_ref(call);
    op->refused = refused;
    if (!refused)
        *(mounts ? &object->mount : &object->unmount) = op;
    list_append(&op->bmcweb->ops, &op->link);
    return op;
}

/* Its browser is turned away: another door was faster. */
static void op_set_aside(struct bmcweb_op *op, int refused)
{
    op->refused = refused;
    op->object->mount = NULL;
}

static void op_free(struct bmcweb_op *op)
{
    struct bmcweb *bmcweb = op->bmcweb;
    if (op->object && !op->refused)
        *(op->mounts ? &op->object->mount : &op->object->unmount) = NULL;
    if (op->reader)
        credentials_cancel(op->reader);
    if (op->ask)
        op->ask->op = NULL;
    list_remove(&op->link);
    sd_bus_message_unref(op->call);
    mem_free_secret(op->url);
    mem_free(op);
    bmcweb_op_gone(bmcweb);
}

/* --- answers --- */

/* Refuses an op that is not begun, and frees it. */
static void op_refuse(struct bmcweb_op *op, int number, const char *words)
{
    if (op->call && bus_connection(op->bmcweb->bus))
        sd_bus_reply_method_errnof(op->call, number, "%s", words);
    op_free(op);
}

static void op_accept(struct bmcweb_op *op)
{
    if (op->call && bus_connection(op->bmcweb->bus))
        sd_bus_reply_method_return(op->call, "b", 1);
    op->call = sd_bus_message_unref(op->call);
}

static void op_begin(struct bmcweb_op *op)
{
    op_accept(op);
    op->begun = true;
}

/* bmcweb's own client is told what the answer says, and nothing later: so it waits for the image, within limits. */
static void op_begin_held(struct bmcweb_op *op)
{
    op->answer_by = uv_now(op->bmcweb->loop) + BMCWEB_HOLD_MS;
    op->begun = true;
}

static void op_complete(struct bmcweb_op *op, int number)
{
    sd_bus *connection = bus_connection(op->bmcweb->bus);
    if (connection)
        sd_bus_emit_signal(connection, op->path, bmcweb_interfaces[op->kind], "Completion", "i", number);
    else
        log_warning("dbus", "%s: nobody was told of the end: the bus is gone", op->path);
}

static void on_bmcweb_mount_ended(void *arg, int status, const char *error)
{
    struct bmcweb_op *op = arg;
    struct bmcweb_object *object = op->object;
    int number = op->given_up && status == -ECANCELED ? ETIMEDOUT : -status;
    if (status != 0)
        log_info("dbus", "%s: %s", op->path, error);
    if (object) {
        *(op->mounts ? &object->mount : &object->unmount) = NULL;
        bmcweb_object_refresh(object);
    }
    op->object = NULL;
    if (op->call && number != 0) {
        op_refuse(op, number, *error ? error : strerror(number));
        return;
    }
    op_accept(op);
    op_complete(op, number);
    op_free(op);
}

static int mount_problem(const struct bmcweb_object *object, sd_bus_error *error)
{
    switch (bmcweb_object_state(object)) {
    case BMCWEB_IDLE:
        return 0;
    case BMCWEB_WAITING:
        if (object->facts.kind == BMCWEB_PROXY && !object->mount)
            return 0;
        return sd_bus_error_set_errnof(error, EBUSY, WORDS_BUSY);
    case BMCWEB_ACTIVE:
        return sd_bus_error_set_errnof(error, EPERM, WORDS_ACTIVE);
    default:
        return sd_bus_error_set_errnof(error, EBUSY, WORDS_BUSY);
    }
}

static struct slot *bmcweb_mount_slot_of(const struct bmcweb_object *object)
{
    return slots_find(object->bmcweb->slots, object->facts.slot);
}

static void bmcweb_mount_audit(const struct bmcweb_object *object, enum audit_event event, sd_bus_message *call,
                               const char *what)
{
    auth_audit(event, "dbus", sd_bus_message_get_sender(call), object->facts.slot, what);
}

/* --- Legacy: an image by URL --- */

static void begin_insert(struct bmcweb_op *op, const char *user, const char *password)
{
    struct slot_status s = {.state = SLOT_CLOSING};
    struct slot *slot = op->object ? bmcweb_mount_slot_of(op->object) : NULL;
    struct slot_insert_options options = {.verify = -1, .writable = op->writable};
    char shown[256];
    if (slot)
        slot_get_status(slot, &s);
    if (s.state != SLOT_EMPTY) { /* another door was faster than the credentials */
        op_refuse(op, EBUSY, WORDS_BUSY);
        return;
    }
    if (*user || *password) {
        options.user = user;
        options.password = password;
    }
    text_url_public(op->url, shown, sizeof shown);
    bmcweb_mount_audit(op->object, AUDIT_INSERT, op->call, shown);
    op_begin_held(op);
    slot_insert(slot, op->url, &options, on_bmcweb_mount_ended, op);
    mem_free_secret(op->url);
    op->url = NULL;
    bmcweb_object_refresh(op->object);
}

static void on_credentials(void *arg, int status, const char *user, const char *password)
{
    struct bmcweb_op *op = arg;
    op->reader = NULL;
    if (status == 0)
        begin_insert(op, user, password);
    else
        op_refuse(op, -status,
                  status == -EINVAL ? WORDS_MALFORMED
                  : status == -EIO  ? WORDS_IO
                                    : "The extra data did not come");
}

/* "sbv", the variant an int (-1: there are no credentials) or a descriptor; "sbh" as newer clients send it. */
static int read_mount(sd_bus_message *call, const char **url, int *writable, int *fd)
{
    const char *signature = sd_bus_message_get_signature(call, true), *inside = NULL;
    char type;
    if (strcmp(signature, "sbh") == 0)
        return sd_bus_message_read(call, "sbh", url, writable, fd);
    if (strcmp(signature, "sbv") != 0)
        return -ENXIO;
    int status = sd_bus_message_read(call, "sb", url, writable), number = -1;
    if (status >= 0)
        status = sd_bus_message_peek_type(call, &type, &inside);
    if (status < 0)
        return status;
    if (strcmp(inside, "h") == 0)
        return sd_bus_message_read(call, "v", "h", fd);
    if (strcmp(inside, "i") != 0 || (status = sd_bus_message_read(call, "v", "i", &number)) < 0)
        return -ENXIO;
    return number == -1 ? status : -EINVAL;
}

static int legacy_problem(struct bmcweb_object *object, sd_bus_message *call, const char **url, int *writable, int *fd,
                          sd_bus_error *error)
{
    int status = read_mount(call, url, writable, fd);
    if (status == -EINVAL)
        return sd_bus_error_set_errnof(error, EINVAL, WORDS_MALFORMED);
    if (status < 0)
        return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                "Expected \"sbv\" (variant: int32 -1 or a file descriptor) or \"sbh\"");
    if (location_kind(*url) == LOCATION_PATH && !object->bmcweb->local_files)
        return sd_bus_error_set_errnof(error, EOPNOTSUPP, "Files of the BMC can't be inserted from here");
    return mount_problem(object, error);
}

int bmcweb_mount_legacy(sd_bus_message *call, void *arg, sd_bus_error *error)
{
    struct bmcweb_object *object = arg;
    const char *url;
    int writable, fd = -1, status = legacy_problem(object, call, &url, &writable, &fd, error);
    if (status < 0)
        return status;
    struct bmcweb_op *op = op_new(object, true, 0, call);
    op->url = mem_strdup(url);
    op->writable = writable;
    if (fd < 0) {
        begin_insert(op, "", "");
        return 1;
    }
    op->reader = credentials_read(op->bmcweb->loop, fd, on_credentials, op, &status);
    if (!op->reader)
        on_credentials(op, status, "", "");
    return 1;
}

/* --- Proxy: a file in a browser --- */

/* A UNIX socket is connected at once or not at all. */
static int connect_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int status = -errno;
    close(fd);
    return status;
}

static void proxy_words(const struct bmcweb_object *object, int status, sd_bus_error *error)
{
    sd_bus_error_set_errnof(error, -status, "Nobody serves a file on %s: %s", object->socket, strerror(-status));
}

/* Gives `fd` to the slot. Returns 0; or a negative errno, and the op still exists. */
static int begin_proxy(struct bmcweb_op *op, int fd)
{
    struct bmcweb_object *object = op->object;
    int status;
    struct stream *stream = socket_stream_new(op->bmcweb->loop, fd, &status);
    if (!stream)
        return status;
    struct browser_connection connection = {.stream = stream, .request_max = BMCWEB_REQUEST_MAX, .claim = ""};
    bmcweb_mount_audit(object, AUDIT_INSERT, op->call, "a browser's file");
    op_begin(op);
    slot_connect_browser(bmcweb_mount_slot_of(object), "", NULL, &connection, NULL, on_bmcweb_mount_ended, op);
    bmcweb_object_refresh(object);
    return 0;
}

static int proxy_problem(struct bmcweb_object *object, sd_bus_error *error)
{
    char reason[SLOT_ERROR_MAX];
    if (slot_browser_problem(bmcweb_mount_slot_of(object), "", NULL, reason) == 0)
        return 0;
    return sd_bus_error_set_errnof(error, EBUSY, WORDS_BUSY ": %s", reason);
}

/* The Mount ends well as far as bmcweb can hear; what it came to is in the Completion. 0; or a negative errno, and the
 * op still exists. */
static int end_refused(struct bmcweb_op *op, int fd)
{
    int number = op->refused, status = bmcweb_turn_away(op->object, fd, sd_bus_message_get_sender(op->call));
    if (status < 0)
        return status;
    log_info("dbus", "%s: a browser is turned away: %s", op->path, strerror(number));
    op_accept(op);
    op_complete(op, number);
    op_free(op);
    return 0;
}

/* --- by somebody who may connect --- */

static void on_bmcweb_mount_ask(struct work *work)
{
    struct proxy_ask *ask = container_of(work, struct proxy_ask, work);
    ask->fd = connect_by(ask->number);
}

/* Another door may have filled the slot meanwhile. */
static int use_asked(struct bmcweb_op *op, int fd)
{
    sd_bus_error error = SD_BUS_ERROR_NULL;
    if (fd < 0)
        return fd;
    int refused = op->refused ? 0 : -proxy_problem(op->object, &error);
    sd_bus_error_free(&error);
    if (refused)
        op_set_aside(op, refused);
    return op->refused ? end_refused(op, fd) : begin_proxy(op, fd);
}

static void end_ask(struct bmcweb_op *op, int fd)
{
    sd_bus_error error = SD_BUS_ERROR_NULL;
    int status = use_asked(op, fd);
    if (status == 0)
        return;
    proxy_words(op->object, status, &error);
    op_refuse(op, -status, error.message);
    sd_bus_error_free(&error);
}

static void on_bmcweb_mount_asked(struct work *work)
{
    struct proxy_ask *ask = container_of(work, struct proxy_ask, work);
    struct bmcweb_op *op = ask->op;
    int fd = ask->fd;
    mem_free(ask);
    if (op)
        op->ask = NULL;
    if (op && op->object) {
        end_ask(op, fd);
        return;
    }
    if (fd >= 0)
        close(fd);
    if (op)
        op_refuse(op, ECANCELED, "The slot is gone");
}

static void ask_proxy(struct bmcweb_op *op)
{
    op->ask = mem_alloc(sizeof *op->ask);
    op->ask->op = op;
    op->ask->number = op->object->facts.number;
    work_start(op->bmcweb->loop, &op->ask->work, on_bmcweb_mount_ask, on_bmcweb_mount_asked);
}

/* Why the slot can't take a browser's file now, as an errno; 0: it can. */
static int why_no_room(struct bmcweb_object *object, sd_bus_error *error)
{
    int status = mount_problem(object, error);
    return -(status < 0 ? status : proxy_problem(object, error));
}

/* Errors are for when there is no browser, which is why nothing waits for it, or when there are too many. */
int bmcweb_mount_proxy(sd_bus_message *call, void *arg, sd_bus_error *error)
{
    struct bmcweb_object *object = arg;
    int refused = why_no_room(object, error);
    if (refused && object->bmcweb->turned_count >= BMCWEB_TURNED_MAX)
        return -refused; /* with what `error` says */
    int status, fd = connect_socket(object->socket);
    if (fd < 0 && !(fd == -EACCES && connect_by)) {
        if (!refused)
            proxy_words(object, fd, error);
        return refused ? -refused : fd;
    }
    sd_bus_error_free(error);
    struct bmcweb_op *op = op_new(object, true, refused, call);
    if (fd < 0) {
        ask_proxy(op);
    } else if ((status = refused ? end_refused(op, fd) : begin_proxy(op, fd)) < 0) {
        proxy_words(object, status, error);
        op->call = sd_bus_message_unref(op->call); /* the error that is returned answers it */
        op_free(op);
        return status;
    }
    return 1;
}

/* --- Unmount --- */

static int unmount_problem(struct bmcweb_object *object, sd_bus_error *error)
{
    switch (bmcweb_object_state(object)) {
    case BMCWEB_IDLE:
    case BMCWEB_OTHER:
        return sd_bus_error_set_errnof(error, EPERM, WORDS_READY);
    case BMCWEB_DEACTIVATING:
        return sd_bus_error_set_errnof(error, EBUSY, WORDS_BUSY);
    default:
        return 0;
    }
}

/* The WebSocket of a browser that was turned away has ended. */
static int unmount_nothing(struct bmcweb_object *object, sd_bus_message *call)
{
    struct bmcweb_op *op = op_new(object, false, ECANCELED, call);
    op_accept(op);
    op_complete(op, 0);
    op_free(op);
    return 1;
}

int bmcweb_unmount(sd_bus_message *call, void *arg, sd_bus_error *error)
{
    struct bmcweb_object *object = arg;
    bool for_nothing = bmcweb_turned_unmounts(object, sd_bus_message_get_sender(call));
    int status = unmount_problem(object, error);
    if (status < 0)
        return status;
    if (for_nothing)
        return unmount_nothing(object, call);
    if (object->mount && !object->mount->begun)
        op_refuse(object->mount, ECANCELED, "The slot was unmounted");
    struct bmcweb_op *op = op_new(object, false, 0, call);
    bmcweb_mount_audit(object, AUDIT_EJECT, call, NULL);
    op_begin(op);
    slot_eject(bmcweb_mount_slot_of(object), on_bmcweb_mount_ended, op);
    bmcweb_object_refresh(object);
    return 1;
}

/* --- all of them --- */

static void ignore_ejected(void *arg, int status, const char *error)
{
    (void)arg, (void)status, (void)error;
}

void bmcweb_ops_tick(struct bmcweb *bmcweb)
{
    list_for_each (l, &bmcweb->ops) {
        struct bmcweb_op *op = container_of(l, struct bmcweb_op, link);
        if (op->begun && op->call && uv_now(bmcweb->loop) >= op->answer_by)
            op_accept(op);
        if (!op->mounts || !op->begun || op->given_up || !op->object || uv_now(bmcweb->loop) < op->until)
            continue;
        op->given_up = true; /* the slot tells its end */
        log_warning(op->object->facts.slot, "dbus: the Mount takes too long and is given up");
        slot_eject(bmcweb_mount_slot_of(op->object), ignore_ejected, NULL);
    }
}

void bmcweb_ops_down(struct bmcweb *bmcweb)
{
    list_for_each (l, &bmcweb->ops) {
        struct bmcweb_op *op = container_of(l, struct bmcweb_op, link);
        op->call = sd_bus_message_unref(op->call);
        if (!op->begun)
            op_free(op);
    }
}

void bmcweb_ops_stop(struct bmcweb *bmcweb)
{
    list_for_each (l, &bmcweb->ops) {
        struct bmcweb_op *op = container_of(l, struct bmcweb_op, link);
        if (!op->begun)
            op_refuse(op, ECANCELED, "The daemon stops");
    }
}

void bmcweb_ops_forget(const struct bmcweb_object *object)
{
    list_for_each (l, &object->bmcweb->ops) {
        struct bmcweb_op *op = container_of(l, struct bmcweb_op, link);
        if (op->object == object)
            op->object = NULL;
    }
}
