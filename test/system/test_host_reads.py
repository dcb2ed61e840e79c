"""What a host waits for and what it does not get, as every door tells it."""
import json
import os
import re
import threading

import nbd
import pytest

from conftest import wait_for
from liar import Liar, stall
from redfish_client import INSERT, Client, own, service, users  # noqa: F401 (fixtures)

MIB = 1 << 20


@pytest.fixture
def hanging():
    """A server that says nothing to new requests while its `hangs` is set."""
    server = Liar(os.urandom(16 * MIB))
    server.hangs = threading.Event()
    server.behaviour = lambda r: stall(r) if server.hangs.is_set() else r.partial(server.image)
    yield server
    server.hangs.clear()
    server.stop()


def fails(h, offset):
    """Whether the host's read fails with an I/O error."""
    try:
        return not h.pread(4096, offset)
    except nbd.Error as error:
        return error.errno == "EIO"


def test_a_host_that_waits_and_reads_that_fail_are_told_everywhere(own, hanging):
    d = own("http.io-timeout=4s", "http.connect-timeout=1s")
    client = Client(d, "operator")
    assert client.post(INSERT, {"Image": hanging.url()}).status == 204
    h = nbd.NBD()
    h.connect_uri(d.uri())
    assert h.pread(4096, 0) == hanging.image[:4096]
    assert d.slot()["host_waits"] is None and d.slot()["failed_reads"] is None
    hanging.hangs.set()
    with d.connect() as s:
        s.sendall(b"watch slot0\n")
        watched = s.makefile()
        read = threading.Thread(target=lambda: results.append(fails(h, 8 * MIB)))
        results = []
        read.start()
        line = next(line for line in watched if "waits" in line)
        assert re.match(r"slot0: ready, the host waits for data, [23] s, read ", line)
        waits = d.slot()["host_waits"]
        assert waits["seconds"] in (2, 3) and (waits["offset"], waits["length"]) == (8 * MIB, 4096)
        assert re.search(r"\n    the host waits for data, [23] s", "\n".join(d.ok("status")))
        status = client.slot()["Status"]
        assert status["Health"] == "Warning" and status["Conditions"][0]["MessageId"] == "NbdProxy.1.0.MediaHostWaits"
        assert status["Conditions"][0]["MessageArgs"] == ["slot0", str(8 * MIB)]
        read.join()
        assert results == [True]
        line = next(line for line in watched if "failed" in line)
        assert re.match(r"slot0: ready, 1 read failed, last at \S+Z, offset 8388608: .*no answer within io-timeout, read ", line)
    assert re.search(r"slot0: a read of the host failed: 4096 bytes at 8388608, after 4\.\d s: http.*: no answer within io-timeout\n", d.log())
    assert client.slot()["Status"]["Health"] == "Critical"  # the server is still away
    hanging.hangs.clear()
    wait_for(lambda: not fails(h, 8 * MIB), "the server to be back")
    told = d.slot()["failed_reads"]
    assert told["count"] >= 1 and told["offset"] == 8 * MIB and told["waitedMs"] >= 1 and "io-timeout" in told["why"]
    status = client.slot()["Status"]
    assert [c["MessageId"] for c in status["Conditions"]] == ["NbdProxy.1.0.MediaReadsFailed"] and status["Health"] == "Warning"
    assert re.search(rf"\n    {told['count']} reads? failed, last at \S+Z, offset 8388608: .*\(dismiss slot0\)", "\n".join(d.ok("status")))
    assert f"reads-failed: {told['count']}" in d.ok("stats slot0")
    d.ok("dismiss slot0")
    assert 'audit: dismiss: user="' in d.log() and f'pid={os.getpid()}' in d.log().split("audit: dismiss:")[1].split("\n")[0]
    assert d.slot()["failed_reads"] is None and d.slot()["error"] is None and "failed" not in "\n".join(d.ok("status"))
    assert client.slot()["Status"]["Health"] == "OK"
    assert f"reads-failed: {told['count']}" in d.ok("stats slot0")  # counted all the same
    report = json.loads(d.ok("report slot0")[0])["lastFailure"]
    assert (report["count"], report["offset"]) == (told["count"], 8 * MIB)
    h.shutdown()
    d.ok("eject slot0")
    assert re.search(rf"boot report: .* {told['count']} failed \(the last 4096 bytes at 8388608, after .*io-timeout\); ", d.log())
    assert "see: slots" in d.error("dismiss nowhere")


def test_reads_of_a_file_that_fail_are_told_at_the_eject(daemon, folder):
    d = daemon()
    image = folder / "image.iso"
    image.write_bytes(os.urandom(4 * MIB))
    d.ok(f"insert slot0 {image}")
    h = nbd.NBD()
    h.connect_uri(d.uri())
    assert len(h.pread(4096, 0)) == 4096
    os.truncate(image, MIB)
    assert fails(h, 2 * MIB)
    assert d.slot()["failed_reads"]["offset"] == 2 * MIB
    h.shutdown()
    d.ok("eject slot0")
    wait_for(lambda: re.search(r"slot0: 1 read of the host failed \(the last 4096 bytes at 2097152, ", d.log()), "the summary")
    assert d.slot()["failed_reads"] is None
