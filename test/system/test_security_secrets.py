"""A password that is given to the daemon is nowhere but where it is needed."""
import base64
import os
import pathlib
import signal

import pytest

from conftest import wait_for
from doors import DOORS, IMAGE, eject, insert, server  # noqa: F401 (fixtures)
from liar import basic
from redfish_client import ACCOUNTS, INSERT, SESSIONS, SLOT, Client, own, users  # noqa: F401 (fixtures)
from test_nbd import handle
from test_redfish import links_in

CANARY = "CANARY-83f1-pass"


def everything_that_can_be_got(client):
    """All bodies and header fields of GET and HEAD, link by link."""
    seen, todo, text = set(), ["/redfish/v1/", "/redfish", "/redfish/v1/odata", "/redfish/v1/$metadata", "/api/slots",
                               "/api/slots/slot0/heat", "/api/session", "/api/uploads", "/"], b""
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = client.get(path)
        text += answer.body + str(answer.headers).encode()
        if path.startswith("/redfish/v1") and answer.status == 200 and b"@odata.id" in answer.body:
            todo += links_in(answer.json)
    assert SLOT in seen and f"{ACCOUNTS}/admin" in seen
    return text


def outside(d):
    """What others see of the process, and what it leaves in files."""
    text = d.log().encode()
    for name in ("cmdline", "environ"):
        text += open(f"/proc/{d.process.pid}/{name}", "rb").read()
    for path in d.folder.rglob("*"):
        if path.is_file():
            text += path.read_bytes()
    return text


@pytest.mark.parametrize("door", DOORS)
def test_an_images_password_is_shown_nowhere(own, server, door):
    d = own("daemon.log-level=debug", "http.user=bob", f"http.password={CANARY}-of-the-configuration")
    admin = Client(d, "admin")
    server.behaviour = lambda r: (r.partial(IMAGE) if r.headers.get("authorization") == basic("alice", CANARY)
                                  else r.answer(401, [("WWW-Authenticate", 'Basic realm="x"')], b"no " + CANARY[:4].encode()))
    d.ok("trace on")
    refused = insert(d, door, server.url(), "alice", CANARY + "-wrong")
    assert not refused.good
    assert insert(d, door, server.url(), "alice", CANARY).good
    handle(d.uri()).pread(4096, 0)
    wait_for(lambda: "slot0" in d.state(), "the state file")
    seen = refused.words.encode() + everything_that_can_be_got(admin)
    for body in (b'{"Image": "http://h/x", "Password": "%s", }', b'{"Image": 1, "Password": "%s"}', b'{"Image": "http://h/x", "Password": ["%s"]}',
                 b'{"Image": "http://127.0.0.1:1/x", "UserName": "a", "Password": "%s", "Colour": 1}',
                 b'{"Image": "gopher://h/x", "UserName": "a", "Password": "%s"}'):
        for answer in (admin.post(INSERT, body % CANARY.encode()), admin.patch(SLOT, body % CANARY.encode())):
            seen += answer.body
    seen += "\n".join(d.ask("help", "status", "status --json", "slots", "cache", "stats")).encode()
    seen += outside(d)
    assert CANARY.encode() not in seen and base64.b64encode(f"alice:{CANARY}".encode()) not in seen
    assert admin.slot()["Password"] is None
    eject(d)
    assert b"alice" not in admin.get(SLOT).body


def test_an_accounts_password_is_shown_nowhere(own):
    d = own("daemon.log-level=debug")
    admin, nobody = Client(d, "admin"), Client(d)
    account = {"UserName": "new", "Password": CANARY, "RoleId": "Operator"}
    seen = admin.post(ACCOUNTS, account).body
    new = Client(d, "new", CANARY)
    login = nobody.post(SESSIONS, {"UserName": "new", "Password": CANARY})
    assert login.status == 201 and new.get(SLOT).status == 200
    seen += login.body + everything_that_can_be_got(admin) + everything_that_can_be_got(Client(d, "admin"))
    for client, path, body in ((admin, ACCOUNTS, account), (admin, ACCOUNTS, {**account, "UserName": "a:b"}),
                               (nobody, SESSIONS, {"UserName": "new", "Password": CANARY + "x"}),
                               (nobody, SESSIONS, {"UserName": CANARY, "Password": CANARY}),  # typed into the wrong field
                               (nobody, SESSIONS, {"UserName": 1, "Password": CANARY})):
        answer = client.post(path, body)
        assert answer.status in (400, 401)
        seen += answer.body
    seen += admin.patch(f"{ACCOUNTS}/new", {"Password": CANARY + "-2", "Colour": 1}).body
    seen += Client(d, "new", CANARY + "-wrong").get(SLOT).body
    token = login.headers["X-Auth-Token"].encode()
    assert CANARY.encode() not in seen and token not in seen
    left = outside(d)
    assert CANARY.encode() not in left and token not in left


def memory_has(pid, needles):
    """Those that are in what the process may write to."""
    found = set()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            begin, end = (int(number, 16) for number in span.split("-"))
            try:
                memory.seek(begin)
                data = memory.read(end - begin)
            except OSError:
                continue
            found |= {needle for needle in needles if needle in data}
    return found


@pytest.mark.plain(only=True)  # a sanitizer keeps what was freed
@pytest.mark.parametrize("door", DOORS)
def test_it_is_gone_from_memory_after_the_eject(own, server, door):
    d = own()
    secrets = {CANARY.encode(), base64.b64encode(f"alice:{CANARY}".encode())}
    end = ("Connection", "close")  # libcurl keeps them with an idle connection
    server.behaviour = lambda r: (r.partial(IMAGE, extra=[end]) if r.headers.get("authorization") == basic("alice", CANARY)
                                  else r.answer(401, [("WWW-Authenticate", 'Basic realm="x"'), end]))
    assert insert(d, door, server.url(), "alice", CANARY).good
    assert handle(d.uri()).pread(50_000, 0) == IMAGE[:50_000]
    try:
        assert CANARY.encode() in memory_has(d.process.pid, secrets)  # or this looks in the wrong place
    except PermissionError:
        pytest.skip("this system lets nobody look into a process")
    eject(d)

    def is_gone():
        Client(d, "admin").post("/api/slots/slot0/insert", {"url": "x" * 12_000})  # buffers that carried it are used again
        return not memory_has(d.process.pid, secrets)

    wait_for(is_gone, "the copies to be overwritten", 10)


def test_a_crash_leaves_no_core(own, folder):
    d = own()
    limits = pathlib.Path(f"/proc/{d.process.pid}/limits").read_text()
    core = next(line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file size"))
    # 1 is for no core at all, also where core_pattern is a program; 0, the most that a hard limit of 0 allows, for no file.
    assert core in (["1", "1"], ["0", "0"])
    d.process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(d.process.pid, 0)
    d.process.returncode, d.killed = -signal.SIGABRT, True
    assert os.WIFSIGNALED(status) and not os.WCOREDUMP(status)
    assert not list(folder.rglob("core*"))
