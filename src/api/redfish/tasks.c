/*
 * The TaskService (DSP0266, "Asynchronous operations"): an insert whose client does not wait for its answer, since it
 * asked for that (Prefer: respond-async) or since it takes longer than `redfish-async-after`. The client is answered
 * 202 with the path of a task monitor, and the call goes on without it: what it is answered in the end is kept in the
 * task, and the monitor gives it from then on.
 *
 * There are TASKS_MAX tasks at most. One that has ended makes room for a new one, the oldest first, and is forgotten
 * after TASK_KEPT_S. When all are running an insert is answered as if nobody had asked for a task. See
 * api/redfish/internal.h.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "api/redfish/internal.h"
#include "auth/audit.h"
#include "base/text.h"

#define TASKS_MAX   16
#define TASK_KEPT_S 3600

struct redfish_task {
    unsigned number; /* its Id, which counts up; 0: free */
    char user[USER_NAME_MAX + 1];
    char name[64];
    struct redfish_call *call; /* NULL: it has ended */
    bool cancelling, removed;  /* removed: nobody sees it any more */
    time_t began, ended;
    unsigned status; /* of the answer */
    json_t *answer;  /* its body; NULL: none */
};

struct redfish_tasks {
    struct redfish *redfish;
    struct redfish_task all[TASKS_MAX];
    unsigned last;        /* number */
    struct link waiting;  /* calls that become tasks when they take too long, in the order of their time */
    uv_timer_t *timer;    /* NULL: it was not needed yet */
};

/* --- one --- */

static void task_path(const struct redfish_task *task, const char *folder, char path[REDFISH_PATH_MAX])
{
    snprintf(path, REDFISH_PATH_MAX, "%s/%u", folder, task->number);
}

static void task_forget(struct redfish_task *task)
{
    json_decref(task->answer);
    *task = (struct redfish_task){0};
}

static void forget_old(struct redfish_tasks *tasks)
{
    time_t now = time(NULL);
    for (struct redfish_task *t = tasks->all; t < tasks->all + TASKS_MAX; t++)
        if (t->number && !t->call && now - t->ended >= TASK_KEPT_S)
            task_forget(t);
}

static bool task_is_cancelled(const struct redfish_task *task)
{
    return task->status == 409; /* InsertGivenUp */
}

static const char *task_state(const struct redfish_task *task)
{
    if (task->call)
        return task->cancelling ? "Cancelling" : "Running";
    return task->status < 400 ? "Completed" : task_is_cancelled(task) ? "Cancelled" : "Exception";
}

static json_t *task_message(const struct redfish_task *task, const char *key)
{
    char id[16];
    snprintf(id, sizeof id, "%u", task->number);
    return redfish_message(key, NULL, id, NULL);
}

static const char *end_key(const struct redfish_task *task)
{
    return task->status < 400 ? "TaskCompletedOK" : task_is_cancelled(task) ? "TaskCancelled" : "TaskAborted";
}

/* How it ended, and what the answer says of that. */
static json_t *task_messages(const struct redfish_task *task)
{
    json_t *list = json_array();
    const json_t *error = json_object_get(task->answer, "error");
    if (!task->call)
        json_array_append_new(list, task_message(task, end_key(task)));
    json_array_extend(list, json_object_get(error ? error : task->answer, "@Message.ExtendedInfo"));
    return list;
}

static json_t *task_show(const struct redfish_task *task)
{
    char path[REDFISH_PATH_MAX], monitor[REDFISH_PATH_MAX], id[16];
    task_path(task, REDFISH_TASKS, path);
    task_path(task, REDFISH_MONITORS, monitor);
    snprintf(id, sizeof id, "%u", task->number);
    json_t *json = redfish_resource(TYPE_TASK, path, id, task->name);
    json_object_set_new(json, "TaskState", json_string(task_state(task)));
    json_object_set_new(json, "TaskStatus", json_string(task->call || task->status < 400 ? "OK"
                                                        : task_is_cancelled(task)        ? "Warning"
                                                                                         : "Critical"));
    json_object_set_new(json, "TaskMonitor", json_string(monitor));
    json_object_set_new(json, "StartTime", redfish_time(task->began));
    if (!task->call)
        json_object_set_new(json, "EndTime", redfish_time(task->ended));
    if (!task->call && task->status < 400)
        json_object_set_new(json, "PercentComplete", json_integer(100));
    json_object_set_new(json, "HidePayload", json_true()); /* it may have a password */
    json_object_set_new(json, "Messages", task_messages(task));
    return json;
}

static void task_tell(const struct redfish_task *task, struct redfish *redfish, const char *key)
{
    char path[REDFISH_PATH_MAX];
    task_path(task, REDFISH_TASKS, path);
    if (!redfish->stopped)
        redfish_events_tell_task(redfish->events, task_message(task, key), path);
}

/* --- a call becomes one --- */

/* NULL: all are running. */
static struct redfish_task *task_new(struct redfish_tasks *tasks)
{
    struct redfish_task *found = NULL;
    forget_old(tasks);
    for (struct redfish_task *t = tasks->all; t < tasks->all + TASKS_MAX; t++)
        if (!t->call && (!found || t->number < found->number))
            found = t; /* a free one's number is 0 */
    if (!found)
        return NULL;
    task_forget(found);
    found->number = ++tasks->last;
    found->began = time(NULL);
    return found;
}

static void answer_accepted(struct http_request *request, const struct redfish_task *task)
{
    char monitor[REDFISH_PATH_MAX];
    task_path(task, REDFISH_MONITORS, monitor);
    http_add_field(request, "Location", monitor);
    redfish_send_json(request, 202, task_show(task));
}

/* If there is no room the client waits on. `asked`: it has asked for a task. */
static void become_task(struct redfish_call *call, bool asked)
{
    struct redfish_tasks *tasks = call->redfish->tasks;
    struct http_request *request = call->request;
    struct redfish_task *task = request ? task_new(tasks) : NULL;
    if (!task)
        return;
    snprintf(task->user, sizeof task->user, "%s", call->user);
    snprintf(task->name, sizeof task->name, "Insert into %.40s", call->id);
    task->call = call;
    call->task = task;
    call->request = NULL;
    list_remove(&call->async);
    request->on_gone = NULL;
    if (asked)
        http_add_field(request, "Preference-Applied", "respond-async");
    answer_accepted(request, task);
    task_tell(task, call->redfish, "TaskStarted");
}

static void tasks_wait(struct redfish_tasks *tasks);

static void on_tasks_timer(uv_timer_t *timer)
{
    struct redfish_tasks *tasks = timer->data;
    while (!list_empty(&tasks->waiting)) {
        struct redfish_call *call = container_of(tasks->waiting.next, struct redfish_call, async);
        if (call->async_at > uv_now(timer->loop))
            break;
        list_remove(&call->async);
        become_task(call, false);
    }
    tasks_wait(tasks);
}

static void tasks_wait(struct redfish_tasks *tasks)
{
    if (list_empty(&tasks->waiting))
        return;
    uint64_t now = uv_now(tasks->redfish->site->loop);
    uint64_t at = container_of(tasks->waiting.next, struct redfish_call, async)->async_at;
    if (!tasks->timer) {
        tasks->timer = mem_alloc(sizeof *tasks->timer);
        uv_timer_init(tasks->redfish->site->loop, tasks->timer);
        tasks->timer->data = tasks;
    }
    uv_timer_start(tasks->timer, on_tasks_timer, at > now ? at - now : 0, 0);
}

void redfish_may_take_long(struct redfish_call *call)
{
    struct redfish_tasks *tasks = call->redfish->tasks;
    uint64_t after = call->site->config.web.async_after_ms;
    if (!call->request || call->redfish->stopped)
        return;
    if (http_field_has(call->request, "Prefer", "respond-async")) {
        become_task(call, true);
    } else if (after > 0) {
        call->async_at = uv_now(call->site->loop) + after;
        list_append(&tasks->waiting, &call->async);
        tasks_wait(tasks);
    }
}

void redfish_task_end(struct redfish_task *task, unsigned status, json_t *answer)
{
    struct redfish *redfish = task->call->redfish;
    task->call->task = NULL;
    task->call = NULL;
    task->ended = time(NULL);
    task->status = status;
    task->answer = answer;
    task_tell(task, redfish, end_key(task));
    if (task->removed)
        task_forget(task);
}

/* --- the service --- */

json_t *redfish_task_service(struct redfish_call *call)
{
    json_t *service = redfish_resource(TYPE_TASK_SERVICE, call->path, "TaskService", "Task Service");
    json_object_set_new(service, "ServiceEnabled", json_true());
    json_object_set_new(service, "Status", json_pack("{s:s, s:s}", "State", "Enabled", "Health", "OK"));
    json_object_set_new(service, "CompletedTaskOverWritePolicy", json_string("Oldest"));
    json_object_set_new(service, "LifeCycleEventOnTaskStateChange", json_true());
    json_object_set_new(service, "TaskAutoDeleteTimeoutMinutes", json_integer(TASK_KEPT_S / 60));
    json_object_set_new(service, "Tasks", redfish_link(REDFISH_TASKS));
    return service;
}

static bool task_may_see(const struct redfish_call *call, const struct redfish_task *task)
{
    bool mine = strcmp(task->user, call->user) == 0 || auth_allows(call->role, AUTH_CONFIGURE_MANAGER);
    return task->number && !task->removed && mine;
}

json_t *redfish_tasks(struct redfish_call *call)
{
    struct redfish_tasks *tasks = call->redfish->tasks;
    json_t *collection = redfish_collection(call, "Task Collection");
    char id[16];
    forget_old(tasks);
    for (const struct redfish_task *t = tasks->all; t < tasks->all + TASKS_MAX; t++)
        if (task_may_see(call, t)) {
            snprintf(id, sizeof id, "%u", t->number);
            redfish_add_member(collection, REDFISH_TASKS, id);
        }
    return collection;
}

static struct redfish_task *task_find(const struct redfish_call *call)
{
    struct redfish_tasks *tasks = call->redfish->tasks;
    char id[16];
    forget_old(tasks);
    for (struct redfish_task *t = tasks->all; t < tasks->all + TASKS_MAX; t++) {
        snprintf(id, sizeof id, "%u", t->number);
        if (task_may_see(call, t) && strcmp(id, call->id) == 0)
            return t;
    }
    return NULL;
}

json_t *redfish_task(struct redfish_call *call)
{
    const struct redfish_task *task = task_find(call);
    return task ? task_show(task) : NULL;
}

void redfish_task_monitor(struct redfish_call *call)
{
    const struct redfish_task *task = task_find(call);
    if (!task) {
        redfish_not_found(call);
    } else if (task->call) {
        char monitor[REDFISH_PATH_MAX];
        task_path(task, REDFISH_MONITORS, monitor);
        http_add_field(call->request, "Location", monitor);
        redfish_reply_json(call, 202, task_show(task));
    } else if (task->answer) {
        redfish_reply_json(call, task->status, json_incref(task->answer));
    } else {
        redfish_reply_nothing(call);
    }
}

/* --- cancelling --- */

/* What follows an insert that is done can't be taken back. */
static void task_cancel(struct redfish_call *call, struct redfish_task *task)
{
    struct slot *slot = task->call ? redfish_media_slot(task->call) : NULL;
    struct slot_status s;
    if (!slot || task->cancelling || task->call->steps.done)
        return;
    slot_get_status(slot, &s);
    auth_audit(AUDIT_EJECT, call->user, call->peer, s.name, "the insert of a task is given up");
    task->cancelling = true;
    slot_give_up(slot);
}

void redfish_task_monitor_delete(struct redfish_call *call)
{
    struct redfish_task *task = task_find(call);
    if (!task) {
        redfish_not_found(call);
        return;
    }
    task_cancel(call, task);
    if (task->call)
        redfish_reply_json(call, 202, task_show(task));
    else
        redfish_reply_nothing(call);
}

void redfish_task_delete(struct redfish_call *call)
{
    struct redfish_task *task = task_find(call);
    if (!task) {
        redfish_not_found(call);
        return;
    }
    task_cancel(call, task);
    task->removed = true;
    if (!task->call)
        task_forget(task);
    redfish_reply_nothing(call);
}

/* --- life --- */

struct redfish_tasks *redfish_tasks_new(struct redfish *redfish)
{
    struct redfish_tasks *tasks = mem_alloc(sizeof *tasks);
    tasks->redfish = redfish;
    list_init(&tasks->waiting);
    return tasks;
}

static void on_tasks_timer_closed(uv_handle_t *handle)
{
    mem_free(handle);
}

void redfish_tasks_stop(struct redfish_tasks *tasks)
{
    while (list_pop(&tasks->waiting))
        ;
    if (tasks->timer)
        uv_close((uv_handle_t *)tasks->timer, on_tasks_timer_closed);
    tasks->timer = NULL;
}

void redfish_tasks_free(struct redfish_tasks *tasks)
{
    for (struct redfish_task *t = tasks->all; t < tasks->all + TASKS_MAX; t++)
        task_forget(t);
    mem_free(tasks);
}
