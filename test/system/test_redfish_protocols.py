"""InsertMedia and PATCH of images by every protocol, in every spelling that clients have for them, from real servers."""
import http.client
import socket

import pytest

import ganesha
import samba
from conftest import has_protocol, make_image
from ftpd import PASSWORD, USER
from redfish_client import EJECT, INSERT, PASSWORDS, SLOT, Client, arguments, own, users  # noqa: F401 (fixtures)
from test_ftp import ftpd, root  # noqa: F401 (fixtures)
from test_sftp import sshd, url_of  # noqa: F401 (fixtures)

PROTOCOLS = ["CIFS", "FTP", "HTTP", "HTTPS", "NFS", "SFTP"]


class Inside(Client):
    """Over a UNIX socket, since the daemon is in a network of its own."""

    def __init__(self, path, user):
        self.path = path
        self.always = Client.authorization(user, PASSWORDS[user])

    def connect(self):
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(str(self.path))
        return connection


def goes_in_and_out(client, image, protocol, **more):
    """By both doors, with the protocol's name and without."""
    body = {"Image": image, **more}
    for insert in (lambda: client.post(INSERT, {**body, "TransferProtocolType": protocol, "TransferMethod": "Stream"}),
                   lambda: client.post(INSERT, body), lambda: client.patch(SLOT, {**body, "TransferProtocolType": protocol}),
                   lambda: client.patch(SLOT, {**body, "Inserted": True})):
        answer = insert()
        assert answer.status == 204, (image, answer.body)
        slot = client.slot()
        assert slot["Image"] == image and slot["Inserted"] and slot["ConnectedVia"] == "URI"
        assert slot["TransferProtocolType"] == protocol and slot["ImageName"] == "image.iso"
        assert slot["Oem"]["NbdProxy"]["SizeBytes"] > 6_000_000
        assert insert().status == 204 # it is in already
        assert client.post(EJECT).status == 204 and client.slot()["Image"] is None


def is_refused(client, image, message, **more):
    answer = client.post(INSERT, {"Image": image, **more})
    assert (answer.status, answer.ids) == (400, [message]), (image, answer.body)
    assert answer.messages[0]["RelatedProperties"] == ["#/Image"] and client.slot()["Image"] is None


def another_type_is_refused(client, image, protocol):
    for other in PROTOCOLS:
        if other != protocol:
            answer = client.post(INSERT, {"Image": image, "TransferProtocolType": other})
            assert answer.status == 400 and "#/TransferProtocolType" in answer.messages[0]["RelatedProperties"], answer.body


def test_what_is_spoken_is_listed(own):
    spoken = [p for p in PROTOCOLS if has_protocol("smb" if p == "CIFS" else p.lower())]
    slot = Client(own(), "operator").slot()
    assert slot["TransferProtocolType@Redfish.AllowableValues"] == spoken
    assert slot["Actions"]["#VirtualMedia.InsertMedia"]["TransferProtocolType@Redfish.AllowableValues"] == spoken
    slot = Client(own("slot.slot0.protocols=nfs https"), "operator").slot()
    assert slot["TransferProtocolType@Redfish.AllowableValues"] == ["HTTPS", "NFS"]


def test_what_is_not_allowed_has_a_message(own):
    client = Client(own("http.protocols=https"), "operator")
    for image in ("http://h/x", "ftp://h/x", "ftps://h/x", "sftp://h/x", "nfs://h/x", "h:/x", "smb://h/s/x", "cifs://h/s/x",
                  "//h/s/x", "\\\\h\\s\\x", "gopher://h/x"):
        is_refused(client, image, "ImageProtocolNotSupported")


def test_a_slot_of_browsers_and_uploads(own, nginx):
    client = Client(own("slot.slot0.protocols=none"), "operator")
    slot, other = client.slot(), client.slot(1)
    assert list(slot["Actions"]) == ["#VirtualMedia.EjectMedia"] and "#VirtualMedia.InsertMedia" in other["Actions"]
    assert slot["TransferProtocolType"] == "OEM" and other["TransferProtocolType"] is None
    assert slot["TransferProtocolType@Redfish.AllowableValues"] == []
    is_refused(client, nginx.url("image.iso"), "ImageProtocolNotSupported")
    assert client.post(EJECT).status == 204


SILENT = [(name, url) for name, url in (("https", "https://127.0.0.1:{}/x"), ("http", "http://127.0.0.1:{}/x"), ("ftp", "ftp://127.0.0.1:{}/x"),
                                        ("ftps", "ftps://127.0.0.1:{}/x"), ("sftp", "sftp://127.0.0.1:{}/x"), ("nfs", "nfs://127.0.0.1:{}/x"),
                                        ("smb", "smb://127.0.0.1:{}/s/x")) if has_protocol(name)]


@pytest.mark.parametrize("url", [url for _, url in SILENT], ids=[name for name, _ in SILENT])
def test_a_host_that_does_not_answer_is_the_clients_to_mend(own, url):
    """A full backlog: the kernel drops what knocks. A 5xx would be tried again by Ironic."""
    client = Client(own("http.connect-timeout=1s", "http.ssh-host-key=SHA256:" + 43 * "A"), "operator")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        knocking = [socket.socket() for _ in range(8)]
        for s in knocking:
            s.setblocking(False)
            s.connect_ex(server.getsockname())
        is_refused(client, url.format(server.getsockname()[1]), "ImageServerUnreachable")
        for s in knocking:
            s.close()


def test_ftp_and_ftps(own, ftpd, nginx, root):
    plain, secure = ftpd(), ftpd(tls="implicit")
    client = Client(own(), "operator")
    for server in (plain, secure):
        goes_in_and_out(client, server.url(), "FTP", UserName=USER, Password=PASSWORD)
        goes_in_and_out(client, server.url(), "FTP", UserName="none", Password="") # anonymous
        is_refused(client, server.url("nothing.iso"), "ImageNotFound")
        is_refused(client, server.url(), "ImageAccessDenied", UserName=USER, Password="wrong")
        another_type_is_refused(client, server.url(), "FTP")
    secure.stop()
    is_refused(client, secure.url(), "ImageServerRefused")
    goes_in_and_out(client, nginx.url("image.iso"), "HTTPS")


@pytest.mark.skipif(not has_protocol("sftp"), reason="built without libssh2")
def test_sftp(own, sshd, tmp_path):
    server, image = sshd(), make_image(tmp_path / "image.iso", 6_000_123)
    client = Client(own(*server.options()), "operator")
    goes_in_and_out(client, url_of(server, image), "SFTP")
    is_refused(client, url_of(server, tmp_path / "nothing.iso"), "ImageNotFound")
    is_refused(client, url_of(server, image), "ImageAccessDenied", UserName="nobody-here")
    another_type_is_refused(client, url_of(server, image), "SFTP")
    client = Client(own(*server.options(ssh_host_key="SHA256:" + 43 * "A")), "operator")
    is_refused(client, url_of(server, image), "ImageServerNotTrusted")


# --- NFS and SMB, on the ports that they have when no URL says another ---


@pytest.fixture
def network(tmp_path, monkeypatch):
    if ganesha.missing() or samba.missing():
        pytest.skip(ganesha.missing() or samba.missing())
    files = tmp_path / "files"
    files.mkdir()
    (tmp_path / "ganesha").mkdir()
    (tmp_path / "samba").mkdir()
    for folder in (files, *files.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    make_image(files / "image.iso", 6_000_123)
    make_image(files / "secret.iso", 70_000).chmod(0o600)
    server = ganesha.Ganesha(tmp_path / "ganesha", files)
    shares = samba.Samba(tmp_path / "samba", files, port=445, inside=server.inside)
    monkeypatch.setenv("NBD_PROXY", server.wrapper())
    yield server
    shares.stop()
    server.close()


@pytest.fixture
def inside(daemon, network, users, tmp_path):
    daemon(*arguments(users, f"web.listen-plain=unix:{tmp_path}/http"))
    return Inside(tmp_path / "http", "operator")


def test_nfs(inside, network):
    for image in (network.url(), network.url(more="?version=3"), f"127.0.0.1:{network.files}/image.iso"):
        goes_in_and_out(inside, image, "NFS", UserName="none", Password="none")
    is_refused(inside, f"127.0.0.1:{network.files}/nothing.iso", "ImageNotFound")
    is_refused(inside, f"127.0.0.1:{network.files}/secret.iso", "ImageAccessDenied")
    another_type_is_refused(inside, f"127.0.0.1:{network.files}/image.iso", "NFS")
    network.stop()
    is_refused(inside, network.url(), "ImageServerRefused")


@pytest.mark.skipif(not has_protocol("smb"), reason="built without libsmb2")
def test_smb(inside):
    login = {"UserName": f"TESTGROUP\\{samba.USER}", "Password": samba.PASSWORD}
    for image in ("smb://127.0.0.1/user/image.iso", "cifs://127.0.0.1/user/image.iso", "//127.0.0.1/user/image.iso",
                  "\\\\127.0.0.1\\user\\image.iso"):
        goes_in_and_out(inside, image, "CIFS", **login)
    goes_in_and_out(inside, "//127.0.0.1/open/image.iso", "CIFS", UserName="none", Password="none") # a guest
    is_refused(inside, "//127.0.0.1/user/nothing.iso", "ImageNotFound", **login)
    is_refused(inside, "//127.0.0.1/user/image.iso", "ImageAccessDenied", **{**login, "Password": "wrong"})
    another_type_is_refused(inside, "//127.0.0.1/user/image.iso", "CIFS")
