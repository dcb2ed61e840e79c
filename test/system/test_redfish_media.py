"""VirtualMedia: what real clients send to insert and eject, and what they find then."""
import http.client
import shutil
import socket
import ssl
import subprocess
import threading
import warnings

import nbd
import pytest

from conftest import wait_for
from redfish_client import (EJECT, INSERT, MEDIA, PASSWORDS, SLOT, Client, admin, own, port_of, service,
                            users) # fixtures, besides port_of

ALWAYS = {"@odata.id", "@odata.type", "Id", "Name", "MediaTypes", "Image", "ImageName", "Inserted", "WriteProtected",
          "ConnectedVia", "UserName", "Password", "TransferMethod", "TransferProtocolType", "VerifyCertificate", "Status",
          "Actions", "EjectPolicy", "EjectTimeout", "Oem"}
EMPTY = {"Image": None, "ImageName": None, "Inserted": False, "ConnectedVia": "NotConnected", "UserName": None,
         "Password": None, "TransferMethod": None, "TransferProtocolType": None}
STICK = f"{MEDIA}/Slot_1"


def has(resource, **wanted):
    return {k: resource[k] for k in wanted} == wanted


# --- what is shown ---


@pytest.mark.smoke
def test_an_empty_slot_and_a_full_one(admin, nginx):
    url = nginx.url("image.iso") + "?token=a%2Fb&x"
    empty = admin.slot()
    assert ALWAYS <= set(empty) and has(empty, **EMPTY, MediaTypes=["CD", "DVD"], VerifyCertificate=True)
    assert has(admin.slot(1), **EMPTY, MediaTypes=["USBStick"])
    assert admin.post(INSERT, {"Image": url}).status == 204
    full = admin.slot()
    assert has(full, Image=url, ImageName="image.iso", Inserted=True, ConnectedVia="URI", WriteProtected=True, UserName=None,
               Password=None, TransferMethod="Stream", TransferProtocolType="HTTPS")
    assert full["Status"] == {"State": "Enabled", "Health": "OK", "Conditions": []}
    assert full["Oem"]["OpenBMC"]["WebSocketEndpoint"] == "/nbd/0" and admin.slot(1)["Oem"]["OpenBMC"]["WebSocketEndpoint"] == "/nbd/1"
    assert full["Oem"]["NbdProxy"]["SizeBytes"] == 6_000_123
    assert full["@odata.etag"] != empty["@odata.etag"]
    doubt = {"@Message.ExtendedInfo"} # the image is no real one
    assert set(full) - doubt == set(empty) and has(admin.slot(1), **EMPTY)
    assert admin.post(EJECT).status == 204
    assert admin.slot() == {**empty, "Oem": admin.slot()["Oem"]}


def test_what_changes_all_the_time_is_not_in_the_tag(admin, service, nginx):
    admin.post(INSERT, {"Image": nginx.url("image.iso")})
    before = admin.slot()
    h = nbd.NBD()
    h.connect_uri(service.uri())
    h.pread(1 << 20, 0)
    h.shutdown()
    after = admin.slot()
    assert after["Oem"]["NbdProxy"]["Statistics"]["HostReadBytes"] > before["Oem"]["NbdProxy"]["Statistics"]["HostReadBytes"]
    assert after["@odata.etag"] == before["@odata.etag"]


def test_the_secrets_of_a_url_are_for_those_who_may_insert(admin, service, nginx):
    admin.post(INSERT, {"Image": nginx.url("image.iso?signature=SECRET")})
    for user in ("admin", "operator"):
        assert Client(service, user).slot()["Image"].endswith("?signature=SECRET")
    assert "SECRET" not in Client(service, "reader").get(SLOT).body.decode()
    assert "SECRET" not in service.log()


# --- what real clients send ---

INSERTS = {
    "sushy": ("POST", {"Image": "URL"}),
    "ironic, with credentials": ("POST", {"Image": "URL", "UserName": "none", "Password": "none", "TransferMethod": "Stream",
                                          "TransferProtocolType": "HTTPS"}),
    "sushy without an action": ("PATCH", {"Image": "URL", "Inserted": True, "WriteProtected": True}),
    "Ansible": ("POST", {"Image": "URL", "Inserted": True, "WriteProtected": True, "TransferProtocolType": "HTTPS",
                         "TransferMethod": "Stream"}),
    "Ansible by PATCH": ("PATCH", {"Image": "URL", "Inserted": True}),
    "gofish": ("POST", {"Image": "URL", "Inserted": True, "MediaType": "CD", "TransferMethod": "Stream",
                        "TransferProtocolType": "HTTPS", "WriteProtected": True}),
    "Tacklebox": ("POST", {"Image": "URL", "Inserted": True, "WriteProtected": True}),
    "Tacklebox after an error": ("PATCH", {"Image": "URL", "Inserted": True}),
    "the OpenBMC guide": ("PATCH", {"Image": "URL", "TransferProtocolType": "HTTPS", "UserName": "", "Password": "",
                                    "WriteProtected": True, "Inserted": True}),
    "webui-vue": ("POST", {"Image": "URL", "UserName": "", "Password": "", "WriteProtected": True}),
    "nulls": ("POST", {"Image": "URL", "UserName": None, "Password": None, "TransferMethod": None, "Inserted": None,
                       "WriteProtected": None, "TransferProtocolType": None}),
}
EJECTS = {
    "sushy": ("POST", None, {}),
    "sushy, again": ("POST", {}, {}),
    "sushy without an action": ("PATCH", {"Image": None, "Inserted": False}, {}),
    "gofish": ("POST", {}, {}),
    "gofish by PATCH": ("PATCH", {"Inserted": False, "WriteProtected": False}, {}),
    "webui-vue": ("POST", None, {"Accept": "application/json", "X-Requested-With": "XMLHttpRequest"}),
    "the OpenBMC guide": ("PATCH", {"Inserted": False}, {}),
    "no image": ("PATCH", {"Image": None}, {}),
    "an empty image": ("PATCH", {"Image": ""}, {}),
    "curl -d": ("POST", "{}", {"Content-Type": "application/x-www-form-urlencoded"}),
}
COMMON = {"OData-Version": "4.0", "Accept-Encoding": "identity", "Connection": "close", "Accept": "application/json"}


@pytest.mark.parametrize("way", INSERTS)
def test_an_insert_as_clients_send_it(admin, nginx, way):
    method, body = INSERTS[way]
    url = nginx.url("image.iso")
    body = {**body, "Image": url}
    got = admin.get(SLOT)
    if method == "POST":
        assert admin.post(got.json["Actions"]["#VirtualMedia.InsertMedia"]["target"], body, **COMMON).status == 204
    else:
        assert "PATCH" in got.headers["Allow"]
        assert admin.patch(SLOT, body, **COMMON, **{"If-Match": got.headers["ETag"]}).status == 204
    assert has(admin.slot(), Image=url, Inserted=True, ConnectedVia="URI", WriteProtected=True, ImageName="image.iso")


@pytest.mark.parametrize("full", [True, False], ids=["full", "empty"])
@pytest.mark.parametrize("way", EJECTS)
def test_an_eject_as_clients_send_it(admin, nginx, way, full):
    method, body, headers = EJECTS[way]
    if full:
        assert admin.post(INSERT, {"Image": nginx.url("image.iso")}).status == 204
    path = EJECT if method == "POST" else SLOT
    assert admin.send(method, path, body, {**COMMON, **headers}, type=None if headers else "application/json").status == 204
    assert has(admin.slot(), **EMPTY)


def test_twice_is_once_and_another_one_waits(admin, nginx):
    url = nginx.url("image.iso")
    for _ in range(2):
        assert admin.post(INSERT, {"Image": url}).status == 204
        assert admin.patch(SLOT, {"Image": url, "Inserted": True}).status == 204
    assert admin.patch(SLOT, {"Inserted": True, "WriteProtected": True}).status == 204
    for body in ({"Image": nginx.url("other.iso")}, {"Image": url, "WriteProtected": False}, {"Image": url, "UserName": "x"}):
        answer = admin.post(INSERT, body)
        assert (answer.status, answer.ids) == (400, ["ResourceInUse"]), body
    assert admin.slot()["Image"] == url


# --- what is refused, by both doors ---


def refusals(nginx):
    image = {"Image": nginx.url("image.iso")}
    return [
        ({"Image": nginx.url("nothing.iso")}, "404 Not Found", "Image"),
        ({"Image": nginx.url("auth/image.iso")}, "401 Unauthorized", "Image"),
        ({"Image": nginx.url("auth/image.iso"), "UserName": "alice", "Password": "WRONG"}, "401 Unauthorized", "Image"),
        ({"Image": nginx.url("noranges/image.iso")}, "does not support range requests", "Image"),
        ({"Image": nginx.url("image.iso", "wrong")}, "no alternative certificate subject name", "Image"),
        ({"Image": nginx.url("image.iso", "expired")}, "certificate has expired", "Image"),
        ({"Image": nginx.url("image.iso", "self")}, "self", "Image"),
        ({"Image": nginx.url("tofile")}, "rotocol", "Image"),
        ({"Image": nginx.url("loop")}, "redirects", "Image"),
        ({"Image": "https://user:CANARY@127.0.0.1/x"}, "carries a user or a password", "Image"),
        ({"Image": "https://127.0.0.1:1\\@evil/x"}, "", "Image"),
        ({"Image": "https://h/a b\r\nX: y"}, "control character", "Image"),
        ({"Image": "https:///x"}, "valid URL", "Image"),
        ({"Image": "https://h/" + "x" * 9000}, "too long", "Image"),
        ({"Image": "/etc/passwd"}, "Files of the BMC", "Image"),
        ({"Image": "//user:CANARY@server/share/x.iso"}, "carries a user or a password", "Image"),
        ({"Image": "nfs://user@server/x.iso"}, "carries a user or a password", "Image"),
        ({"Image": "FILE:///etc/passwd"}, "Files of the BMC", "Image"),
        *(({"Image": f"{scheme}://h/x"}, "not supported", "Image")
          for scheme in ("gopher", "dict", "ldap", "scp", "telnet", "tftp")),
        ({"Image": "192.0.2.1/x.iso"}, "neither a URL nor", "Image"),
        ({**image, "TransferProtocolType": "HTTP"}, "", "TransferProtocolType"),
        ({**image, "TransferProtocolType": "TFTP"}, "not in the list", "TransferProtocolType"),
        ({**image, "TransferProtocolType": "OEM"}, "not in the list", "TransferProtocolType"),
        ({**image, "TransferMethod": "Upload"}, "not in the list", "TransferMethod"),
        ({**image, "WriteProtected": False}, "can't be written", "Image"),
        ({**image, "Inserted": False}, "", "Inserted"),
        ({**image, "Inserted": "yes"}, "different type", "Inserted"),
        ({**image, "WriteProtected": 1}, "different type", "WriteProtected"),
        ({**image, "Password": 12345678}, "different type", "Password"),
        ({"Image": 1}, "different type", "Image"),
        ({"Image": ["x"]}, "different type", "Image"),
        ({"Inserted": True}, "Image", "Image"),
        ({"UserName": "x"}, "Image", "Image"),
    ]


@pytest.mark.parametrize("door", ["action", "patch"])
def test_what_can_not_be_inserted(admin, service, nginx, door):
    for body, words, about in refusals(nginx):
        answer = admin.post(INSERT, body) if door == "action" else admin.patch(SLOT, body)
        assert answer.status == 400, (body, answer.body)
        error, message = answer.json["error"], answer.messages[0]
        assert words in message["Message"] and message["RelatedProperties"] == [f"#/{about}"], (body, message)
        assert error["code"] == message["MessageId"] and error["message"] == message["Message"]
        assert message["Resolution"] and message["MessageSeverity"] in ("Warning", "Critical")
        assert all(isinstance(a, str) for a in message["MessageArgs"])
        for secret in ("CANARY", "WRONG", "12345678"):
            assert secret not in answer.body.decode()
    assert "CANARY" not in service.log()
    assert has(admin.slot(), **EMPTY)


def test_unknown_parameters(admin, nginx):
    body = {"Image": nginx.url("image.iso"), "Colour": "red"}
    assert admin.post(INSERT, body).ids == ["ActionParameterUnknown"]
    assert admin.post(EJECT, {"Colour": "red"}).ids == ["ActionParameterUnknown"]
    mixed = admin.patch(SLOT, body) # what can be done is
    assert mixed.status == 200 and mixed.json["Inserted"]
    assert any(message["MessageId"].endswith(".PropertyUnknown") for message in mixed.json["@Message.ExtendedInfo"])
    assert admin.patch(SLOT, {"ImageName": "x"}).ids == ["PropertyNotWritable"]
    assert admin.patch(SLOT, {"Colour": 1, "Id": "x"}).status == 400
    assert admin.patch(SLOT, {"Image": None, "Inserted": True}).ids == ["PropertyValueConflict"]


def test_what_is_told_of_parameters_and_properties_is_so(admin):
    """ActionInfo has the parameters that the action knows and no others, WriteableProperties what a PATCH takes."""
    info = admin.get(admin.slot()["Actions"]["#VirtualMedia.InsertMedia"]["@Redfish.ActionInfo"]).json
    own = info["Oem"]["NbdProxy"]["Parameters"]
    assert [p["Name"] for p in info["Parameters"] if p["Required"]] == ["Image"]
    assert {"Inserted", "WriteProtected", "TransferMethod", "EjectPolicy"} < {p["Name"] for p in info["Parameters"]}
    assert {"BootOnce", "KernelArguments"} < {p["Name"] for p in own}
    for parameter, wrap in [(p, lambda b: b) for p in info["Parameters"]] + [(p, lambda b: {"Oem": {"NbdProxy": b}}) for p in own]:
        assert admin.post(INSERT, wrap({parameter["Name"]: 1})).ids == ["ActionParameterValueTypeError"], parameter
        if parameter["DataType"] == "String" and parameter["AllowableValues"]:
            answer = admin.post(INSERT, {**wrap({parameter["Name"]: "Nothing"}), "Image": "https://h/x"})
            assert answer.ids == ["ActionParameterValueNotInList"], parameter
    slot = admin.slot()
    for name in (n for n in slot if "@" not in n and n != "Oem"):
        answer = admin.patch(SLOT, {name: 1})
        wanted = "PropertyValueTypeError" if name in slot["@Redfish.WriteableProperties"] else "PropertyNotWritable"
        assert answer.ids == [wanted], name


def test_a_failure_is_shown_until_the_next_insert(admin, nginx):
    admin.post(INSERT, {"Image": nginx.url("nothing.iso")})
    status = admin.slot()["Status"]
    assert status["Health"] == "Warning" and "404 Not Found" in status["Conditions"][0]["Message"]
    assert status["Conditions"][0]["MessageId"] == "NbdProxy.1.0.MediaFailed"
    assert admin.post(INSERT, {"Image": nginx.url("image.iso")}).status == 204
    assert admin.slot()["Status"]["Health"] == "OK"


def test_each_reason_has_its_message(own, nginx):
    """400: the client can mend it; 503: it may pass."""
    admin = Client(own("http.io-timeout=4s"), "admin")
    for url, status, wanted in ((nginx.url("nothing.iso"), 400, "ImageNotFound"),
                                (nginx.url("auth/image.iso"), 400, "ImageAccessDenied"),
                                (nginx.url("image.iso", "self"), 400, "ImageServerNotTrusted"),
                                (nginx.url("noranges/image.iso"), 400, "ImageServerWithoutRanges"),
                                ("https://no-such-host.invalid/x.iso", 400, "ImageServerUnreachable"),
                                (nginx.url("busy"), 503, "ImageServerBusy")):
        answer = admin.post(INSERT, {"Image": url})
        assert (answer.status, answer.ids) == (status, [wanted]), url
        assert ("Retry-After" in answer.headers) == (status == 503)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        answer = admin.post(INSERT, {"Image": f"https://127.0.0.1:{s.getsockname()[1]}/x.iso"})
    assert (answer.status, answer.ids) == (400, ["ImageServerRefused"])


def test_an_image_that_no_cd_can_show_has_its_message(own, folder):
    with open(folder / "dvd.iso", "wb") as f:
        f.truncate(3 << 30)
    client = Client(own(f"daemon.file-directory={folder}", "slot.slot0.attach=nbd", "slot.slot0.usb-cdrom=yes"), "operator")
    answer = client.post(INSERT, {"Image": str(folder / "dvd.iso")})
    assert (answer.status, answer.ids) == (400, ["ImageTooLarge"]) and not client.slot()["Inserted"]


def test_plain_http_can_be_forbidden(own, nginx):
    client = Client(own("http.protocols=https"), "operator")
    assert client.slot()["TransferProtocolType@Redfish.AllowableValues"] == ["HTTPS"]
    url = nginx.url("image.iso", "http")
    assert client.post(INSERT, {"Image": url}).status == 400
    assert client.post(INSERT, {"Image": url, "TransferProtocolType": "HTTP"}).ids == ["ActionParameterValueNotInList"]
    free = Client(own(), "operator")
    assert free.post(INSERT, {"Image": url, "TransferProtocolType": "HTTP"}).status == 204
    assert free.slot()["TransferProtocolType"] == "HTTP"


def test_local_files_when_they_are_allowed(own, www):
    client = Client(own(f"daemon.file-directory={www}"), "operator")
    assert client.post(INSERT, {"Image": f"{www}/image.iso"}).status == 204
    assert has(client.slot(), Image=f"{www}/image.iso", ImageName="image.iso", TransferProtocolType="OEM")
    assert client.post(EJECT).status == 204
    assert client.post(INSERT, {"Image": "/etc/passwd"}).status == 400


# --- credentials, certificates, write protection ---


def test_credentials_are_used_and_never_shown(own, nginx):
    d = own()
    client = Client(d, "operator")
    assert client.post(INSERT, {"Image": nginx.url("auth/image.iso"), "UserName": "alice",
                                "Password": "CANARY-PASSWORD"}).status == 204
    seen = client.get(SLOT).body + client.get(MEDIA).body
    assert has(client.slot(), UserName="alice", Password=None)
    seen += client.post(INSERT, {"Image": nginx.url("other.iso"), "Password": "CANARY-PASSWORD"}).body
    seen += "\n".join(d.ask("status --json") + d.ask("status")).encode() + d.log().encode()
    for name in ("cmdline", "environ"):
        seen += open(f"/proc/{d.process.pid}/{name}", "rb").read()
    assert b"CANARY" not in seen
    assert client.post(EJECT).status == 204
    assert client.slot()["UserName"] is None


def test_certificates_are_not_checked_only_when_an_administrator_says_so(own, nginx):
    d = own()
    admin, operator = Client(d, "admin"), Client(d, "operator")
    url = nginx.url("image.iso", "self")
    off = {"VerifyCertificate": False}
    assert operator.patch(SLOT, off).ids == ["InsufficientPrivilege"]
    assert operator.patch(SLOT, {**off, "Image": url}).status == 403
    assert admin.patch(SLOT, off).status == 204 and admin.slot()["VerifyCertificate"] is False
    assert admin.slot(1)["VerifyCertificate"] is True
    assert "certificates of the images' servers are not checked" in d.log()
    assert operator.post(INSERT, {"Image": url}).status == 204
    assert admin.patch(SLOT, {"VerifyCertificate": True}).ids == ["ResourceInUse"]
    assert operator.post(EJECT).status == 204
    assert operator.patch(SLOT, {"VerifyCertificate": True}).status == 204
    assert operator.post(INSERT, {"Image": url}).status == 400
    assert admin.patch(SLOT, {**off, "Image": url}).status == 204 and admin.slot()["VerifyCertificate"] is False


def test_write_protection(own, nginx):
    d = own("slot.slot1.overlay=memory")
    client = Client(d, "operator")
    insert = INSERT.replace("Slot_0", "Slot_1")
    url = nginx.url("image.iso")

    def is_writable():
        h = nbd.NBD()
        h.connect_uri(d.uri("slot1"))
        try:
            return not h.is_read_only()
        finally:
            h.shutdown()

    assert client.post(insert, {"Image": url}).status == 204
    assert client.slot(1)["WriteProtected"] is True and not is_writable()
    assert client.patch(STICK, {"WriteProtected": False}).ids == ["PropertyValueConflict"]
    assert client.patch(STICK, {"Inserted": False}).status == 204
    assert client.patch(STICK, {"Image": url, "WriteProtected": False}).status == 204
    assert client.slot(1)["WriteProtected"] is False and is_writable()
    assert client.post(insert, {"Image": url, "WriteProtected": False}).status == 204
    assert client.post(insert, {"Image": url}).ids == ["ResourceInUse"]


def test_an_insert_that_is_ejected_meanwhile(own):
    client = Client(own(), "operator")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        answers = []
        thread = threading.Thread(target=lambda: answers.append(
            client.post(INSERT, {"Image": f"http://127.0.0.1:{s.getsockname()[1]}/x.iso"})))
        thread.start()
        wait_for(lambda: client.slot()["Image"], "the insert to begin")
        assert has(client.slot(), Inserted=False, ConnectedVia="NotConnected", ImageName="x.iso")
        assert client.post(EJECT).status == 204
        thread.join()
    assert (answers[0].status, answers[0].ids) == (409, ["InsertGivenUp"])


def test_a_client_that_does_not_wait(own, nginx):
    """The daemon goes on, and comes to an end with it under way."""
    d = own()
    client = Client(d, "operator")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        client.port, port = port_of(d), s.getsockname()[1]
        c = http.client.HTTPSConnection("127.0.0.1", client.port, context=ssl._create_unverified_context())
        c.request("POST", INSERT, f'{{"Image": "http://127.0.0.1:{port}/x.iso"}}', client.always)
        wait_for(lambda: client.slot()["Image"], "the insert to begin")
        c.close()
        assert client.get(SLOT).status == 200
        d.stop()


# --- unmodified programs ---


def test_sushy(service, nginx):
    sushy = pytest.importorskip("sushy", reason="needs python3-sushy")
    warnings.simplefilter("ignore")
    url = nginx.url("image.iso")
    for auth in (sushy.auth.SessionAuth, sushy.auth.BasicAuth):
        root = sushy.Sushy(f"https://127.0.0.1:{port_of(service)}", verify=False,
                           auth=auth("operator", PASSWORDS["operator"]))
        system = root.get_system("/redfish/v1/Systems/system")
        manager = system.managers[0]
        media = manager.virtual_media.get_members()
        assert [m.media_types for m in media] == [[sushy.VIRTUAL_MEDIA_CD, sushy.VIRTUAL_MEDIA_DVD],
                                                  [sushy.VIRTUAL_MEDIA_USBSTICK]]
        cd = media[0]
        assert not cd.inserted and cd.image is None
        cd.insert_media(url)
        cd.refresh()
        assert cd.inserted and cd.image == url and cd.image_name == "image.iso" and cd.write_protected
        cd.insert_media(url, username="none", password="none")
        with pytest.raises(sushy.exceptions.BadRequestError):
            cd.insert_media(nginx.url("other.iso"))
        cd.eject_media()
        cd.refresh()
        assert not cd.inserted and cd.image is None
        cd.eject_media()
        with pytest.raises(sushy.exceptions.BadRequestError, match="404 Not Found"):
            cd.insert_media(nginx.url("nothing.iso"))
    cd._actions = None # as a service without the actions: PATCH
    cd.insert_media(url)
    cd.refresh()
    assert cd.inserted
    cd._actions = None
    cd.eject_media()
    cd.refresh()
    assert not cd.inserted


def redfishtool(service, *words, session=False):
    command = ["redfishtool", "-r", f"127.0.0.1:{port_of(service)}", "-S", "Always", "-u", "operator", "-p",
               PASSWORDS["operator"], "-A", "Session" if session else "Basic", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not shutil.which("redfishtool"), reason="needs redfishtool")
@pytest.mark.parametrize("session", [False, True], ids=["basic", "session"])
def test_redfishtool(service, admin, nginx, session):
    url = nginx.url("image.iso")
    assert '"Slot_0"' in redfishtool(service, "raw", "GET", SLOT, session=session)
    redfishtool(service, "raw", "POST", INSERT, "-d", f'{{"Image": "{url}"}}', session=session)
    assert url in redfishtool(service, "raw", "GET", SLOT, session=session)
    redfishtool(service, "raw", "PATCH", SLOT, "-d", '{"Inserted": false}', session=session)
    assert not admin.slot()["Inserted"]
    assert "ComputerSystem" in redfishtool(service, "Systems", "-1", "get", session=session)
    assert "bmc" in redfishtool(service, "Managers", "list", session=session)


def test_curl(service, admin, nginx, tmp_path):
    curl = ["curl", "-sk", "-f", "-u", f"operator:{PASSWORDS['operator']}", "-o", "/dev/null", "-w", "%{http_code}"]
    base = f"https://127.0.0.1:{port_of(service)}"

    def run(*words):
        return subprocess.run([*curl, *words], capture_output=True, text=True, timeout=60).stdout

    url = nginx.url("image.iso")
    assert run("-X", "POST", base + INSERT, "-d", f'{{"Image": "{url}"}}') == "204"
    assert run("-X", "POST", base + EJECT) == "204"
    assert run("-X", "PATCH", base + SLOT, "-H", "Content-Type: application/json", "-d",
               f'{{"Image": "{url}", "TransferProtocolType": "HTTPS", "UserName": "", "Password": "", "Inserted": true}}') == "204"
    assert run("-X", "PATCH", base + SLOT + "/", "-d", '{"Inserted": false}') == "204"
    assert not admin.slot()["Inserted"]


# --- boot profiles ---


def test_a_boot_profile_is_given_with_the_image(admin, service, nginx, www):
    url = nginx.url("image.iso")
    (www / "given.json").write_text('{"profile": 1, "size": 6000123, "cluster": 65536, "runs": [[5, 1, 0]]}')
    for profile in ("no", "own", "auto"):
        assert admin.post(INSERT, {"Image": url, "Oem": {"NbdProxy": {"BootProfile": profile}}}).status == 204
        assert admin.post(EJECT).status == 204
    body = {"Image": url, "Oem": {"NbdProxy": {"BootProfile": nginx.url("given.json")}}}
    for count, insert in ((1, lambda: admin.post(INSERT, body)), (2, lambda: admin.patch(SLOT, body))):
        assert insert().status in (200, 204)
        wait_for(lambda: service.log().count("is known to read") == count, "the profile to be found")
        assert admin.post(EJECT).status == 204
    for profile in ("never", "/etc/passwd", "file:///etc/passwd", "upload:x", "https://u:p@h/x"):
        refused = admin.post(INSERT, {"Image": url, "Oem": {"NbdProxy": {"BootProfile": profile}}})
        assert (refused.status, refused.ids[0]) in ((400, "ActionParameterValueNotInList"), (400, "PropertyValueNotInList")), profile
