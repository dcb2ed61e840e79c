"""A Redfish client that sends what it is told, and a daemon with accounts for it."""
import base64
import http.client
import json
import re
import ssl
import shutil
import subprocess

import pytest

import manual
from conftest import Daemon, binary
from redfish_schema import answer_faults

PASSWORDS = {"admin": "admin-password", "operator": "operator-password", "reader": "reader-password"}
ROLES = {"admin": "Administrator", "operator": "Operator", "reader": "ReadOnly"}
MEDIA = "/redfish/v1/Managers/bmc/VirtualMedia"
SLOT = f"{MEDIA}/Slot_0"
INSERT = f"{SLOT}/Actions/VirtualMedia.InsertMedia"
EJECT = f"{SLOT}/Actions/VirtualMedia.EjectMedia"
SESSIONS = "/redfish/v1/SessionService/Sessions"
ACCOUNTS = "/redfish/v1/AccountService/Accounts"


def make_users(path):
    for user, password in PASSWORDS.items():
        subprocess.run([binary(), "passwd", f"--file={path}", f"--role={ROLES[user]}", user], check=True,
                       input=password.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def arguments(users, *more):
    return (f"web.users-file={users}", "web.listen=127.0.0.1:0", *more)


def port_of(daemon):
    return int(re.search(r"listening on 127\.0\.0\.1:(\d+) \(https\)", daemon.log())[1])


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def messages(self):
        return self.json["error"]["@Message.ExtendedInfo"]

    @property
    def ids(self):
        return [m["MessageId"].rpartition(".")[2] for m in self.messages]


def as_documented(answer, path):
    """It is as its schema has it, and its messages come with a status that the manual has for them."""
    if path.startswith("/redfish/") and "?" not in path and answer.body.startswith(b"{"):
        faults = answer_faults(answer.json, path)
        assert not faults, faults
    if answer.status >= 400 and b'"@Message.ExtendedInfo"' in answer.body:
        for name in answer.ids:
            statuses, _ = manual.redfish_messages().get(name, ({answer.status}, ""))
            assert answer.status in statuses, (answer.status, name)
    return answer


class Client:
    def __init__(self, daemon, user=None, password=None, token=None):
        self.port = port_of(daemon)
        self.always = self.authorization(user, password or PASSWORDS[user]) if user else {}
        if token:
            self.always["X-Auth-Token"] = token

    @staticmethod
    def authorization(user, password):
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=ssl._create_unverified_context())

    def send(self, method, path, body=None, headers={}, type="application/json"):
        connection = self.connect()
        fields = {**self.always, **headers}
        if body is not None:
            body = body if isinstance(body, (bytes, str)) else json.dumps(body)
            if type:
                fields["Content-Type"] = type
        try:
            connection.request(method, path, body, fields)
            return as_documented(Answer(connection.getresponse()), path)
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.send("GET", path, headers=headers)

    def post(self, path, body=None, **headers):
        return self.send("POST", path, body, headers)

    def patch(self, path, body, **headers):
        return self.send("PATCH", path, body, headers)

    def delete(self, path, **headers):
        return self.send("DELETE", path, headers=headers)

    def slot(self, index=0):
        return self.get(f"{MEDIA}/Slot_{index}").json


# --- fixtures, for the tests that import them ---


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    path = tmp_path_factory.mktemp("redfish") / "users"
    make_users(path)
    return path


@pytest.fixture(scope="module")
def service(users, tmp_path_factory, certificates):
    """One for all tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("np")
    shutil.copy(users, folder / "users")
    d = Daemon(folder, *arguments(folder / "users", f"http.ca-file={certificates}/ca.pem"))
    yield d
    d.stop()


@pytest.fixture
def own(daemon, users, folder, ca):
    """One for a test that changes more than the media."""
    def start(*more, **how):
        shutil.copy(users, folder / "users")
        return daemon(*arguments(folder / "users", ca, *more), **how)
    return start


@pytest.fixture
def admin(service):
    client = Client(service, "admin")
    yield client
    for slot in ("Slot_0", "Slot_1"):
        assert client.post(EJECT.replace("Slot_0", slot)).status == 204
