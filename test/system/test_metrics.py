"""What is measured, as Prometheus reads it, and what is made of that: alerts and a dashboard."""
import base64
import json
import os
import re
import ssl
import subprocess
import urllib.error
import urllib.request

import nbd
import pytest

from conftest import TOP, at_once, wait_for
from redfish_client import PASSWORDS, own, port_of, service, users  # noqa: F401 (fixtures)
from test_host_reads import hanging  # noqa: F401 (a fixture)

MIB = 1 << 20
PIECE = 16 << 10  # of what the host reads
GRAFANA = TOP / "packaging" / "grafana"


def fetch(d, path="/metrics", method="GET", **fields):
    request = urllib.request.Request(f"https://127.0.0.1:{port_of(d)}{path}", method=method, headers=fields)
    return urllib.request.urlopen(request, context=ssl._create_unverified_context(), timeout=60)


def refused(d, **more):
    with pytest.raises(urllib.error.HTTPError) as error:
        fetch(d, **more)
    return error.value.code


def metrics(d):
    """{line without its value: value}"""
    with fetch(d) as answer:
        text = answer.read().decode()
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))}


def promtool(*arguments, text=""):
    done = subprocess.run(["promtool", *map(str, arguments)], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr.strip(), (done.stdout, done.stderr)


def of(values, name, **labels):
    return values["nbd_proxy_" + name + "{" + ",".join(f'{k}="{v}"' for k, v in {"slot": "slot0", **labels}.items()) + "}"]


def unread(values):
    """Bytes that were read ahead, and that the host has not wanted yet."""
    return of(values, "prefetch_bytes_total") - of(values, "prefetch_used_bytes_total") - of(values, "prefetch_wasted_bytes_total")


def test_what_is_measured(own, hanging):
    d = own("http.io-timeout=4s", "web.metrics=local")
    first = metrics(d)
    assert first["process_resident_memory_bytes"] > MIB and first["process_open_fds"] >= 5 and first["process_max_fds"] >= 64
    pid = d.process.pid
    assert abs(first["process_open_fds"] - len(os.listdir(f"/proc/{pid}/fd"))) <= 2
    assert abs(first["process_start_time_seconds"] - os.stat(f"/proc/{pid}").st_mtime) < 5
    assert first["nbd_proxy_web_connections"] == 1 and of(first, "slot_medium_inserted") == 0
    d.ok(f"insert 0 {hanging.url()}")
    h = nbd.NBD()
    h.connect_uri(d.uri())
    for offset in range(0, 4 * MIB, PIECE):
        if offset == 2 * MIB:
            wait_for(lambda: unread(metrics(d)) >= PIECE, "what is read ahead")
        assert h.pread(PIECE, offset) == hanging.image[offset:offset + PIECE]
    wait_for(lambda: of(metrics(d), "host_waiting_requests") == 0, "the reads' answers")
    values = metrics(d)
    assert of(values, "slot_medium_inserted") == 1 and of(values, "slot_medium_size_bytes") == 16 * MIB
    assert of(values, "host_read_bytes_total") == 4 * MIB and of(values, "host_requests_total", result="read") == 4 * MIB // PIECE
    assert of(values, "host_read_duration_seconds_count") == 4 * MIB // PIECE == of(values, "host_read_duration_seconds_bucket", le="+Inf")
    steps = [v for k, v in values.items() if k.startswith('nbd_proxy_host_read_duration_seconds_bucket{slot="slot0"')]
    assert len(steps) == 17 and steps == sorted(steps)
    assert 0 < of(values, "host_read_duration_seconds_sum") < 60
    assert of(values, "source_bytes_total") >= 4 * MIB and of(values, "source_requests_total") >= of(values, "source_range_duration_seconds_count") > 0
    assert of(values, "source_round_trip_seconds") > 0 and of(values, "host_connections") == 1
    assert of(values, "cache_hits_total") + of(values, "cache_misses_total") >= 4 * MIB // PIECE and of(values, "cache_hits_total") > 0
    ahead = of(values, "prefetch_bytes_total")
    assert ahead > 0 and 0 < of(values, "prefetch_used_bytes_total") <= ahead
    hanging.hangs.set()
    h.set_strict_mode(0)
    waiting = h.aio_pread(nbd.Buffer(4096), 15 * MIB)
    wait_for(lambda: of(metrics(d), "host_oldest_read_seconds") > 2, "a read that waits")
    assert of(metrics(d), "host_waiting_requests") == 1

    def answered():
        h.poll(100)
        try:
            return h.aio_command_completed(waiting)
        except nbd.Error as error:
            return error.errno == "EIO"

    wait_for(answered, "the error")
    values = metrics(d)
    assert of(values, "host_read_failures_total", reason="away") == 1 and of(values, "host_failed_reads_unseen") == 1
    assert of(values, "source_away") == 1 and of(values, "host_oldest_read_seconds") == 0
    assert of(values, "host_requests_total", result="failed") == 1
    with fetch(d) as answer:
        promtool("check", "metrics", text=answer.read().decode())
    hanging.hangs.clear()
    h.shutdown()
    before = metrics(d)
    d.ok("eject 0")
    values = metrics(d)  # of the slot, whatever goes in and out
    for name in ("host_read_bytes_total", "source_bytes_total", "source_requests_total", "cache_hits_total", "prefetch_bytes_total",
                 "prefetch_used_bytes_total", "source_range_duration_seconds_count", "host_read_duration_seconds_count"):
        assert of(values, name) >= of(before, name) > 0, name
    assert of(values, "prefetch_used_bytes_total") + of(values, "prefetch_wasted_bytes_total") == of(values, "prefetch_bytes_total")
    assert of(values, "slot_medium_inserted") == 0 and of(values, "host_failed_reads_unseen") == 0


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_who_may_have_them(own):
    d = own()
    assert refused(d) == 401
    with pytest.raises(urllib.error.HTTPError) as error:
        fetch(d, method="POST", **basic("admin", PASSWORDS["admin"]))
    assert error.value.code == 405 and error.value.headers["Allow"] == "GET, HEAD"
    with fetch(d, **basic("reader", PASSWORDS["reader"])) as answer:
        assert b"nbd_proxy_build_info{" in answer.read()
    assert refused(d, **basic("reader", "wrong")) == 401
    with fetch(d, method="HEAD", **basic("reader", PASSWORDS["reader"])) as answer:
        assert int(answer.headers["Content-Length"]) > 1000 and answer.read() == b""


def test_metrics_for_this_machine(own, folder):
    socket = folder / "web.sock"
    d = own("web.metrics=local", f"web.listen-plain=unix:{socket}")
    with fetch(d) as answer:
        assert answer.status == 200
    for field in ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"):
        assert refused(d, **{field: "192.0.2.1"}) == 401  # it came through a proxy
    by_unix = subprocess.run(["curl", "-sS", "--unix-socket", str(socket), "http://bmc/metrics"], capture_output=True, text=True, check=True)
    assert "nbd_proxy_build_info{" in by_unix.stdout
    d.stop()
    assert refused(own("web.metrics=local", "web.trusted-proxies=127.0.0.0/8")) == 401  # whoever asks by it, and it need not say so


@pytest.mark.plain(only=True)  # a sanitizer's memory says nothing of ours
def test_they_are_bounded(own):
    slot = "a" * 31
    d = own("web.metrics=local", f"slot.{slot}.attach=socket")
    with fetch(d) as answer:
        text = answer.read().decode()
    header = (TOP / "src/api/metrics.h").read_text()
    most = [int(n) << 10 for n in re.findall(r"_MAX +\((\d+)u << 10\)", header)]
    number = len("-1.7976931348623157e+308\n")
    lines = text.splitlines()
    assert sum(len(line.rsplit(" ", 1)[0]) + number for line in lines if f'slot="{slot}"' in line) < most[1]
    assert sum(len(line) + number for line in lines if 'slot="' not in line) < most[0]
    assert lines[-1].startswith("process_max_fds ")
    at_once(lambda _: len(fetch(d).read()), range(20))  # many at a time are answered, and cost nothing that stays
    rss = d.rss()
    for _ in range(5):
        at_once(lambda _: len(fetch(d).read()), range(20))
    assert d.rss() - rss < 4 << 20


def test_metrics_can_be_off(own):
    d = own("web.metrics=no")
    assert refused(d, **basic("admin", PASSWORDS["admin"])) == 404


# --- what is made of them ---


def expressions():
    """The dashboard's and the alerts', as Prometheus gets them."""
    board = json.loads((GRAFANA / "nbd-proxy.json").read_text())
    assert board["title"] == "nbd-proxy" and board["schemaVersion"] >= 38 and len({p["id"] for p in board["panels"]}) == len(board["panels"])
    found = [target["expr"] for panel in board["panels"] if panel["type"] != "row" for target in panel["targets"]]
    assert all(panel["targets"] for panel in board["panels"] if panel["type"] != "row") and len(found) >= 20
    queries = [v["query"] for v in board["templating"]["list"] if v["type"] == "query"]
    return found, queries, (GRAFANA / "nbd-proxy.rules.yml").read_text()


def names_in(text):
    return set(re.findall(r"\b(?:nbd_proxy|process)_[a-z0-9_]+", text))


def test_the_manual_the_dashboard_and_the_alerts_have_the_metrics_that_are_there(own, tmp_path):
    found, queries, rules = expressions()
    with fetch(own("web.metrics=local", "slot.slot1.overlay=memory")) as answer:
        text = answer.read().decode()
    there = set(re.findall(r"^# TYPE (\S+)", text, re.M)) | {re.match(r"\w+", line)[0] for line in text.splitlines() if line[0] != "#"}
    wanted = names_in("\n".join(found + queries)) | names_in("".join(re.findall(r"expr:(?: >-)?(.*?)(?=labels:|for:)", rules, re.S)))
    assert len(wanted) > 25 and wanted <= there, wanted - there
    manual = (TOP / "man" / "nbd-proxy.8").read_text()
    for name in re.findall(r"^# TYPE nbd_proxy_(\S+)", text, re.M):
        assert re.search(rf"^\.It Li .*\b{name}\b", manual, re.M), name
    promtool("check", "rules", GRAFANA / "nbd-proxy.rules.yml")
    lines = ["groups:", "  - name: dashboard", "    rules:"]
    for i, expression in enumerate(found):
        expression = expression.replace("$__rate_interval", "1m").replace("$instance", ".+").replace("$slot", ".+")
        lines += [f"      - record: panel:number:{i}", f"        expr: {json.dumps(expression)}"]
    (tmp_path / "dashboard.yml").write_text("\n".join(lines))
    promtool("check", "rules", tmp_path / "dashboard.yml")


ALERTS = """
rule_files: [%s]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'nbd_proxy_host_oldest_read_seconds{instance="bmc", slot="cd"}', values: '0 0 12 0'}
      - {series: 'nbd_proxy_host_read_failures_total{instance="bmc", slot="cd", reason="away"}', values: '0 0 0 0 3x30'}
      - {series: 'nbd_proxy_host_read_failures_total{instance="bmc", slot="cd", reason="ejected"}', values: '0 9 9 9 9x30'}
      - {series: 'nbd_proxy_source_away{instance="bmc", slot="cd"}', values: '0 1 1 1 0'}
    alert_rule_test:
      - {eval_time: 1m, alertname: NbdProxyHostWaits}
      - eval_time: 2m
        alertname: NbdProxyHostWaits
        exp_alerts:
          - exp_labels: {severity: warning, instance: bmc, slot: cd}
            exp_annotations:
              summary: "bmc: the host waits for data of cd"
              description: "A read has waited for 12s. Look after the image's server, or the browser that serves it."
      - {eval_time: 3m, alertname: NbdProxyHostWaits}
      - {eval_time: 3m, alertname: NbdProxyReadsFailed}
      - eval_time: 5m
        alertname: NbdProxyReadsFailed
        exp_alerts:
          - exp_labels: {severity: critical, instance: bmc, slot: cd, reason: away}
            exp_annotations:
              summary: "bmc: reads of the host from cd failed (away)"
              description: "What the host does with the medium may have to begin again. nbd-proxyctl status says which reads, and why."
      - {eval_time: 25m, alertname: NbdProxyReadsFailed}
      - {eval_time: 1m, alertname: NbdProxySourceAway}
      - eval_time: 2m
        alertname: NbdProxySourceAway
        exp_alerts:
          - exp_labels: {severity: critical, instance: bmc, slot: cd}
            exp_annotations:
              summary: "bmc: the server of the medium in cd is away"
              description: "Reads are tried again until it is back; the host's time for them may be over before."
"""


def test_alerts_come_when_they_should(tmp_path):
    (tmp_path / "test.yml").write_text(ALERTS % (GRAFANA / "nbd-proxy.rules.yml"))
    promtool("test", "rules", tmp_path / "test.yml")
