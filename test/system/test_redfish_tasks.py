"""Inserts as tasks: 202, the task and its monitor, what it says in the end, and how it is given up."""
import contextlib
import re
import socket
import threading
import warnings

import pytest

from conftest import wait_for
from redfish_client import (EJECT, INSERT, PASSWORDS, SLOT, Client, admin, own, port_of, service,
                            users)  # noqa: F401 (admin, own, service, users are fixtures)
from test_redfish_events import Stream, ids

SERVICE = "/redfish/v1/TaskService"
TASKS = f"{SERVICE}/Tasks"
ASYNC = {"Prefer": "respond-async"}


@contextlib.contextmanager
def hanging():
    """The URL of an image on a server that never answers."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        yield f"http://127.0.0.1:{s.getsockname()[1]}/x.iso"


def accepted(answer, applied="respond-async"):
    """The task's path and its monitor's."""
    assert answer.status == 202 and answer.headers["Preference-Applied"] == applied, answer.body
    task = answer.json
    assert answer.headers["Location"] == task["TaskMonitor"] and task["TaskState"] == "Running" and task["HidePayload"] is True
    assert task["Messages"] == [] and "EndTime" not in task
    return task["@odata.id"], task["TaskMonitor"]


def ended(client, task):
    wait_for(lambda: client.get(task).json["TaskState"] not in ("Running", "Cancelling"), "the task's end")
    shown = client.get(task).json
    assert shown["EndTime"] >= shown["StartTime"]
    return shown


@pytest.mark.smoke
def test_an_insert_as_a_task(service, admin, nginx):
    operator, reader = Client(service, "operator"), Client(service, "reader")
    assert admin.get("/redfish/v1/").json["Tasks"] == {"@odata.id": SERVICE}
    assert admin.get(SERVICE).json["Tasks"] == {"@odata.id": TASKS}
    with Stream(admin) as stream:
        assert stream.comment() == b":\n"
        task, monitor = accepted(operator.post(INSERT, {"Image": nginx.url("image.iso"), "Password": "CANARY"}, **ASYNC))
        told = [stream.next()[1] for _ in range(3)]
    assert {ids(event)[0] for event in told} == {"TaskEvent.1.0.TaskStarted", "NbdProxy.1.0.MediaInserted",
                                                 "TaskEvent.1.0.TaskCompletedOK"}
    assert [e["Events"][0]["OriginOfCondition"]["@odata.id"] for e in told if "Task" in ids(e)[0]] == [task, task]
    shown = ended(operator, task)
    assert (shown["TaskState"], shown["TaskStatus"], shown["PercentComplete"]) == ("Completed", "OK", 100)
    assert re.search(r"TaskCompletedOK$", shown["Messages"][0]["MessageId"]) and "CANARY" not in str(shown)
    assert operator.slot()["Inserted"]
    for _ in range(2):
        assert operator.get(monitor).status in (200, 204) # 200: the image is doubted
    assert task in [m["@odata.id"] for m in admin.get(TASKS).json["Members"]] and admin.get(task).status == 200
    assert reader.get(task).status == reader.get(monitor).status == 404 and reader.get(TASKS).json["Members"] == []
    assert reader.delete(task).status == 403
    assert operator.delete(task).status == 204 and operator.slot()["Inserted"]
    assert operator.get(task).status == operator.get(monitor).status == operator.delete(monitor).status == 404


def test_one_that_fails(admin, nginx):
    assert admin.post(INSERT, {"Image": 1}, **ASYNC).status == 400 # what is wrong with the request is said at once
    for send in (lambda body: admin.post(INSERT, body, **ASYNC), lambda body: admin.patch(SLOT, body, **ASYNC)):
        task, monitor = accepted(send({"Image": nginx.url("nothing.iso")}))
        shown = ended(admin, task)
        assert (shown["TaskState"], shown["TaskStatus"]) == ("Exception", "Critical")
        assert [m["MessageId"].rpartition(".")[2] for m in shown["Messages"]] == ["TaskAborted", "ImageNotFound"]
        answer = admin.get(monitor)
        assert (answer.status, answer.ids) == (400, ["ImageNotFound"])


def test_one_that_is_given_up(admin, nginx):
    with hanging() as url:
        task, monitor = accepted(admin.post(INSERT, {"Image": url}, **ASYNC))
        waiting = admin.get(monitor)
        assert waiting.status == 202 and waiting.headers["Location"] == monitor and waiting.json["TaskState"] == "Running"
        assert admin.delete(monitor).json["TaskState"] == "Cancelling"
        shown = ended(admin, task)
        assert (shown["TaskState"], shown["TaskStatus"]) == ("Cancelled", "Warning")
        assert (admin.get(monitor).status, admin.get(monitor).ids) == (409, ["InsertGivenUp"])
        assert admin.delete(monitor).status == 204 and admin.get(task).status == 200
        task, monitor = accepted(admin.post(INSERT, {"Image": url}, **ASYNC))
        assert admin.delete(task).status == 204 and admin.get(task).status == 404
        wait_for(lambda: admin.slot()["Image"] is None, "the slot to be empty")
        # another image in the place of one that is in: that stays
        assert admin.post(INSERT, {"Image": nginx.url("image.iso")}).status == 204
        task, monitor = accepted(admin.patch(SLOT, {"Image": url}, **ASYNC))
        assert admin.delete(monitor).status == 202
        assert ended(admin, task)["TaskState"] == "Cancelled"
        assert admin.slot()["Inserted"] and admin.slot()["ImageName"] == "image.iso"


def test_one_that_takes_long_becomes_a_task(own, nginx):
    """If the configuration says so; and the daemon comes to an end with it under way."""
    d = own("web.redfish-async-after=500ms")
    client = Client(d, "operator")
    assert client.post(INSERT, {"Image": nginx.url("image.iso")}).status == 204
    assert client.post(EJECT).status == 204
    with hanging() as url:
        task, _ = accepted(client.post(INSERT, {"Image": url}), applied=None)
        assert client.get(task).json["TaskState"] == "Running"
        d.stop()


def test_tasks_are_counted(own, nginx):
    client = Client(own(), "operator")
    with hanging() as url:
        body = {"Image": url}
        tasks = [accepted(client.post(INSERT, body, **ASYNC))[0] for _ in range(16)]
        assert [m["@odata.id"] for m in client.get(TASKS).json["Members"]] == tasks
        answers = []
        thread = threading.Thread(target=lambda: answers.append(client.post(INSERT, body, **ASYNC))) # no room: it waits
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        assert client.post(EJECT).status == 204
        thread.join()
        assert answers[0].status == 409
        assert {ended(client, task)["TaskState"] for task in tasks} == {"Cancelled"}
    newest, _ = accepted(client.post(INSERT, {"Image": nginx.url("image.iso")}, **ASYNC))
    members = [m["@odata.id"] for m in client.get(TASKS).json["Members"]]
    assert sorted(members) == sorted([*tasks[1:], newest]) and client.get(tasks[0]).status == 404


def test_sushy_waits_for_a_task(service, admin, nginx):
    sushy = pytest.importorskip("sushy", reason="needs python3-sushy")
    warnings.simplefilter("ignore")
    root = sushy.Sushy(f"https://127.0.0.1:{port_of(service)}", verify=False,
                       auth=sushy.auth.BasicAuth("admin", PASSWORDS["admin"]))
    _, monitor = accepted(admin.post(INSERT, {"Image": nginx.url("image.iso")}, **ASYNC))
    watched = sushy.taskmonitor.TaskMonitor(root._conn, monitor)
    watched.wait(30)
    assert not watched.is_processing and admin.slot()["Inserted"]
