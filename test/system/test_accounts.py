"""The system's accounts (accounts = pam) by the PAM that this machine has, in an /etc of the daemon's own: pam_unix, real
passwords, shadow and groups, and the system's own tools to change them."""
import concurrent.futures

import pytest

import machine
from browser import Browser, Image, WebSocket
from conftest import SANITIZED, Daemon, wait_for
from redfish_client import ACCOUNTS, EJECT, MEDIA, SESSIONS, SLOT, Client, arguments, make_users, port_of
from test_pam import has_pam
from test_rights import place  # noqa: F401 (a fixture)
from website import Web

pytestmark = [pytest.mark.skipif(machine.missing() is not None, reason=str(machine.missing())),
              pytest.mark.skipif(not has_pam, reason="built without PAM")]
SECOND = 5 if SANITIZED else 1
# As phosphor-user-manager makes them: supplementary groups; and one whose first group it is.
PEOPLE = {"sysadmin": ("-N", "-G", "priv-admin,priv-user"), "sysop": ("-N", "-G", "priv-operator"),
          "sysread": ("-g", "priv-user"), "sysother": ("-N", "-G", "priv-user"), "nobodys": ("-N",), "admin": ("-N", "-G", "priv-user")}
ROLE = {"sysadmin": "Administrator", "sysop": "Operator", "sysread": "ReadOnly", "sysother": "ReadOnly"}


def password_of(name):
    return f"pw of {name}"


class System(machine.System):
    """With the people, and a PAM that may hang."""

    def __init__(self, folder):
        super().__init__(folder)
        for name, how in PEOPLE.items():
            self.run("useradd", "-M", *how, name)
            self.password(name, password_of(name))

    def hang(self, folder):
        """PAM asks a script first, which waits while there is `folder`/hangs."""
        script = self.script("script", f"touch {folder}/begun\nwhile [ -e {folder}/hangs ]; do sleep 0.05; done")
        service = self.etc / "pam.d/nbd-proxy"
        service.write_text(f"auth optional pam_exec.so quiet {script}\n" + service.read_text())
        (folder / "hangs").touch()
        return folder / "hangs", folder / "begun"


@pytest.fixture
def system(place, monkeypatch):  # noqa: F811
    users = place / "users"
    make_users(users)
    it = System(place)
    monkeypatch.setenv("NBD_PROXY", str(it.wrapper()))
    started = []

    def start(accounts="file pam", *more):
        run = place / f"run{len(started)}"
        run.mkdir(mode=0o755)
        started.append(Daemon(run, *arguments(users, f"web.accounts={accounts}", "daemon.user=nobody", *more)))
        return started[-1]

    it.start = start
    yield it
    for d in started:
        d.stop()


def log_in(d, name, password=None):
    return Client(d).post(SESSIONS, {"UserName": name, "Password": password or password_of(name)})


def session(d, name, password=None):
    answer = log_in(d, name, password)
    assert answer.status == 201, answer.body
    return Client(d, token=answer.headers["X-Auth-Token"])


def test_the_systems_accounts_have_the_role_of_their_groups(system):
    d = system.start()
    for name, role in ROLE.items():
        own = session(d, name)
        assert own.get(f"{ACCOUNTS}/{name}").json["RoleId"] == role
        assert own.post(EJECT).status == (403 if role == "ReadOnly" else 204)
        assert log_in(d, name, password_of("somebody else")).status == 401
    assert log_in(d, "nobodys").status == 401 and log_in(d, "daemon").status == 401
    # The file's account goes before the system's of the same name.
    assert log_in(d, "admin").status == 401
    admin = Client(d, "admin")
    names = [m["@odata.id"].rpartition("/")[2] for m in admin.get(ACCOUNTS).json["Members"]]
    assert sorted(names) == sorted(["admin", "operator", "reader", *ROLE])
    # They are changed in the system, not here; one of the file can't hide one of them.
    for answer in (admin.patch(f"{ACCOUNTS}/sysop", {"Password": "another password"}),
                   admin.patch(f"{ACCOUNTS}/sysop", {"RoleId": "Administrator"}),
                   admin.delete(f"{ACCOUNTS}/sysop"),
                   admin.post(ACCOUNTS, {"UserName": "sysop", "Password": "another password", "RoleId": "Administrator"})):
        assert answer.status == 400 and "usermod" in answer.messages[0]["Resolution"], answer.body
    assert log_in(d, "sysop").status == 201
    # A reload keeps them; another map wants a restart.
    assert Client(d, "sysop", password_of("sysop")).get(MEDIA).status == 200


def test_the_systems_accounts_alone(system):
    """No account in a file is needed to listen; the groups are the configuration's."""
    d = system.start("pam", "web.administrator-groups=no-such-group priv-operator", "web.operator-groups=priv-admin")
    assert log_in(d, "admin", "admin-password").status == 401  # the file's
    assert session(d, "sysop").get(f"{ACCOUNTS}/sysop").json["RoleId"] == "Administrator"
    assert session(d, "sysadmin").get(f"{ACCOUNTS}/sysadmin").json["RoleId"] == "Operator"
    boss = session(d, "sysop")
    assert boss.post(ACCOUNTS, {"UserName": "new", "Password": "another password", "RoleId": "Operator"}).status == 400


CHANGES = {
    "another password": lambda s: s.password("sysop", "something else"),
    "the same password": lambda s: s.password("sysop", password_of("sysop")),  # a new salt: it was set anew
    "locked": lambda s: s.run("usermod", "-L", "sysop"),
    "expired": lambda s: s.run("usermod", "-e", "1970-01-02", "sysop"),
    "out of the group": lambda s: s.run("gpasswd", "-d", "sysop", "priv-operator"),
    "another role": lambda s: s.run("usermod", "-G", "priv-user", "sysop"),
    "a higher role": lambda s: s.run("usermod", "-a", "-G", "priv-admin", "sysop"),
    "removed": lambda s: s.run("userdel", "sysop"),
}
COMES_IN_AGAIN = {"the same password", "another role", "a higher role"}


def test_a_change_in_the_system_ends_what_the_account_has_open(system):
    d = system.start()
    web = Web(("127.0.0.1", port_of(d)))
    kept = session(d, "sysadmin")
    for how, change in CHANGES.items():
        mine = session(d, "sysop")
        browser = Browser(web, Image(bytes(5000)), "slot0", begin=False)
        browser.socket = WebSocket(web, "/nbd/slot0", headers={"X-Auth-Token": mine.always["X-Auth-Token"]}, cookies=False)
        browser.begin()
        wait_for(lambda: d.slot()["state"] == "ready", "the medium")
        assert mine.get(SLOT).status == 200
        basic = Client(d, "sysop", password_of("sysop"))
        assert basic.get(SLOT).status == 200  # and is remembered
        change(system)
        assert browser.wait_end(5 * SECOND) == 1008, how
        assert mine.get(SLOT).status == 401, how
        wait_for(lambda: d.slot()["state"] == "empty", "the eject")
        assert basic.get(SLOT).status == (200 if how in COMES_IN_AGAIN else 401), how
        assert log_in(d, "sysop").status == (201 if how in COMES_IN_AGAIN else 401), how
        assert kept.get(SLOT).status == 200, how  # who did not change does not notice
        restore(system, d, how)
    assert log_in(d, "sysadmin").status == 201


def restore(system, d, how):
    if how == "removed":
        return
    system.run("usermod", "-U", "-e", "", "-G", "priv-operator", "sysop")
    system.password("sysop", password_of("sysop"))
    admin = Client(d, "admin")
    wait_for(lambda: admin.get(f"{ACCOUNTS}/sysop").status == 200, "the account")
    wait_for(lambda: (j := admin.get(f"{ACCOUNTS}/sysop").json)["RoleId"] == "Operator" and j["Enabled"], "the account")


def test_a_new_account_comes_in(system):
    d = system.start()
    assert log_in(d, "late").status == 401
    system.run("useradd", "-M", "-N", "-G", "priv-operator", "late")
    system.password("late", password_of("late"))
    admin = Client(d, "admin")
    wait_for(lambda: admin.get(f"{ACCOUNTS}/late").status == 200 and admin.get(f"{ACCOUNTS}/late").json["Enabled"], "the account")
    assert log_in(d, "late").status == 201


def test_a_pam_that_hangs_stops_no_session_and_hides_no_change(system):
    d = system.start()
    open_ones = {name: session(d, name) for name in ("sysop", "sysread")}
    hangs, begun = system.hang(system.folder)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(log_in, d, name) for name in ("sysadmin", "sysother")]
        wait_for(begun.exists, "PAM")
        for client in open_ones.values():
            assert client.get(SLOT).status == 200
        assert log_in(d, "admin", "admin-password").status == 201
        system.run("usermod", "-L", "sysop")
        wait_for(lambda: open_ones["sysop"].get(SLOT).status == 401, "the end of the session", 5 * SECOND)
        assert open_ones["sysread"].get(SLOT).status == 200 and not any(one.done() for one in waiting)
        hangs.unlink()
        assert [one.result().status for one in waiting] == [201, 201]


