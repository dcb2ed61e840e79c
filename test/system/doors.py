"""The four ways to ask the daemon for an image: what is refused at one must be refused at each."""
import shutil
import subprocess

import pytest

from conftest import TOP
from liar import Liar
from redfish_client import INSERT, SLOT, Client

DOORS = ("InsertMedia", "PATCH", "page", "control")
IMAGE = bytes(range(256)) * 400


class Outcome:
    """What came of an insert. `status` and `message` are None where there is none."""

    def __init__(self, good, words, status=None, message=None):
        self.good, self.words, self.status, self.message = good, words, status, message

    def __repr__(self):
        return f"{self.status} {self.words}"


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def by_control(daemon, url, user, password):
    words = ["insert", "0", quoted(url)] + ([f"user={user}", f"password={password}"] if user else [])
    lines = daemon.ask(" ".join(words))
    return Outcome(lines[-1].startswith("ok"), lines[-1])


def by_page(daemon, url, user, password):
    answer = Client(daemon, "operator").post("/api/slots/slot0/insert", {"url": url, "user": user, "password": password})
    return Outcome(answer.status == 200, answer.json.get("error", ""), answer.status)


def by_redfish(daemon, url, user, password, door):
    client, body = Client(daemon, "operator"), {"Image": url, "UserName": user, "Password": password}
    answer = client.post(INSERT, body) if door == "InsertMedia" else client.patch(SLOT, body)
    if answer.status == 204:
        return Outcome(True, "", 204)
    return Outcome(False, answer.messages[0]["Message"], answer.status, answer.ids[0])


def insert(daemon, door, url, user=None, password=None):
    if door == "control":
        return by_control(daemon, url, user, password)
    if door == "page":
        return by_page(daemon, url, user, password)
    return by_redfish(daemon, url, user, password, door)


def eject(daemon):
    daemon.ok("eject 0")


# --- fixtures, for the tests that import them ---


@pytest.fixture
def server():
    """One whose image may be inserted."""
    liar = Liar(IMAGE)
    yield liar
    liar.stop()


@pytest.fixture
def trap():
    """One that nobody should connect to."""
    liar = Liar(IMAGE)
    yield liar
    liar.stop()


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory):
    """The environment of a daemon for which this machine plays others."""
    library = tmp_path_factory.mktemp("elsewhere") / "elsewhere.so"
    compiler = shutil.which("cc") or "gcc"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, str(TOP / "test/system/elsewhere.c"), "-ldl"],
                   check=True)
    return {"LD_PRELOAD": str(library)}
