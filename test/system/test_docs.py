"""The manual pages, the sample and --help name every key, command and option; what they show of a configuration is one; the
unit is one that systemd takes."""
import functools
import re
import shutil
import subprocess

import pytest

from conftest import TOP, binary
from manual import WIDE, section
from manual import text as page


def run(*arguments):
    return subprocess.run([binary(), *arguments], capture_output=True, text=True, check=True).stdout


def keys(text):
    return re.findall(r"^#?([a-z0-9-]+) =", text, re.M)


def test_the_sample_is_what_the_daemon_prints():
    assert (TOP / "conf" / "nbd-proxy.conf").read_text() == run("--sample-config")


def test_the_configuration_for_openbmc_is_as_its_guide_has_it():
    """With the gadget of the guide's listing of configfs."""
    dump = run("--config", str(TOP / "conf" / "openbmc.conf"), "--dump-config")
    assert re.search("^cache-size = 16M$", dump, re.M)
    for name, slot in zip(("virtual_media", "virtual_media_1"), dump.split("[slot ")[1:], strict=True):
        for line in (f"usb-gadget = {name}", "#?usb-function = 0", "usb-manufacturer = OpenBMC", "usb-power = 500"):
            assert re.search(f"^{line}$", slot, re.M), line


def test_every_key_is_in_sample_and_manual_with_its_default():
    sample = run("--sample-config")
    manual = page("nbd-proxy.conf.5")
    found = re.findall(r"^#([a-z0-9-]+) = ?(.*)$", sample, re.M)
    assert len(found) > 30
    dump = run("--no-config", "--set", "credentials.a.origin=https://h/", "--set", "credentials.a.user=u", "--dump-config")
    assert set(keys(dump)) == {name for name, _ in found}
    for name, default in found:
        assert re.search(rf"^ +{name} =", manual, re.M), name
        if default:
            assert re.search(rf"^ +{name} = .*{re.escape(default)}", manual, re.M), (name, default)


HEADING = r"\[(?:daemon|web|dbus|host|http|(?:credentials|slot) [\w-]+)\]"


def snippets(text):
    """What is shown of a configuration, as somebody copies it: from an indented heading on, as long as there are keys and headings."""
    lines, found = text.splitlines(), []
    for line in lines:
        inside = found and found[-1] is not None
        if re.match(rf"^ +{HEADING}", line) or (inside and re.match(r"^ +[a-z-]+ = ", line)):
            if not inside:
                found.append([])
            found[-1].append(line)
        elif inside and line.strip():
            found.append(None)
    return ["\n".join(block) + "\n" for block in found if block]


MARKDOWN = [TOP / "README.md", TOP / "packaging" / "README.md", *sorted((TOP / "docs").glob("*.md"))]
PAGES = {**{str(path.relative_to(TOP)): path.read_text for path in MARKDOWN},
         **{p.name: functools.partial(page, p.name, WIDE) for p in sorted((TOP / "man").iterdir())}}


def test_what_is_shown_of_a_configuration_is_one(folder):
    hook = folder / "hook"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    shown = {name: snippets(text()) for name, text in PAGES.items()}
    assert sum(len(texts) for name, texts in shown.items() if name.startswith("docs/")) >= 6 and len(shown["nbd-proxy.conf.5"]) >= 2
    for name, text in [(name, text) for name, texts in shown.items() for text in texts]:
        text = re.sub(r"^( *(?:hook|ca-file) = )\S+", rf"\1{hook}", text, flags=re.M)  # they must be there
        (folder / "conf").write_text(text if "[slot " in text else text + "[slot cd]\n")
        checked = subprocess.run([binary(), "--check-config", "-c", str(folder / "conf")], capture_output=True, text=True)
        assert checked.returncode == 0, (name, text, checked.stderr)


def test_sizes_are_in_one_kind_of_unit():
    """MiB, as the configuration has them and as they are counted. The benchmarks' rates are another matter."""
    texts = {**{name: text() for name, text in PAGES.items()}, "--sample-config": run("--sample-config"),
             **{p.name: p.read_text() for p in [TOP / "NEWS", *(TOP / "conf").iterdir(), *(TOP / "web").glob("*.[jh]*")]}}
    assert not [(name, found) for name, text in texts.items() for found in re.findall(r".*[\d ][kKMGT]B\b.*", text)]


def test_every_page_leads_where_it_says():
    for path in [*MARKDOWN, *TOP.glob("*.md"), TOP / "bench" / "README.md", TOP / "web" / "README.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), (path.name, target)
    named = {target for target in re.findall(r"\]\((docs/[^)]+)", (TOP / "README.md").read_text())}
    assert named == {str(path.relative_to(TOP)) for path in (TOP / "docs").iterdir()}


def test_news_are_told_once():
    told = re.findall(r"^- (.*?)(?=^- |\Z)", (TOP / "NEWS").read_text(), re.M | re.S)
    assert len(told) > 30 and len(told) == len(set(told))
    assert len([line for line in (TOP / "NEWS").read_text().splitlines() if line.startswith("nbd-proxy ")]) == 1


def test_the_defaults_that_keep_strangers_out():
    dump = run("--no-config", "--dump-config").splitlines()
    for line in ("allow-local = no", "verify-certificate = yes", "redirects = 3", "state-secrets = no", "control-mode = 0600", "listen =",
                 "users-file =", "upload-directory =", "file-directory =", "hook =", "bus = none"):
        assert any(entry.lstrip("#").rstrip() == line for entry in dump), line


def test_every_command_is_in_the_manual():
    source = (TOP / "src" / "api" / "control" / "commands.c").read_text()
    commands = set(re.findall(r'^    \{"([a-z]+)", "', source, re.M))
    described = set(re.findall(r"^ {5}([a-z]+)", section(page("nbd-proxy-control.7", WIDE), "COMMANDS"), re.M))
    assert not commands - described, "man/nbd-proxy-control.7, COMMANDS, has no item for these"
    assert not described - commands, "there are no such commands in src/api/control/commands.c"


def test_every_option_is_in_the_manual():
    manual = page("nbd-proxy.8")
    for option in re.findall(r"--[a-z-]+", run("--help") + run("passwd", "--help") + run("doctor", "--help")):
        assert option in manual, option


def test_the_manual_says_every_exit_code():
    manual = page("nbd-proxy.8").split("EXIT STATUS")[1].split("EXAMPLES")[0]
    assert re.findall(r"^ +(\d+(?:, \d+)*)(?: |$)", manual, re.M)[:7] == ["0", "1", "2", "69", "71", "78", "130, 143"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd")
def test_systemd_takes_the_units(folder):
    names = ("nbd-proxy.service", "nbd-proxy.socket", "nbd-proxy-helper.socket", "nbd-proxy-helper@.service")
    for name in names:
        text = (TOP / "packaging" / name).read_text()
        (folder / name).write_text(text.replace("ExecStart=/usr/sbin/nbd-proxy", f"ExecStart={binary()}"))
    checked = subprocess.run(["systemd-analyze", "verify", "--man=no", *(folder / name for name in names)], capture_output=True, text=True)
    assert "nbd-proxy" not in checked.stdout + checked.stderr


@pytest.mark.skipif(not shutil.which("systemctl"), reason="there is no systemd")
def test_the_unit_has_the_name_of_openbmcs_guide_too(folder):
    units = folder / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    shutil.copy(TOP / "packaging" / "nbd-proxy.service", units)
    subprocess.run(["systemctl", f"--root={folder}", "enable", "nbd-proxy.service"], check=True, capture_output=True)
    assert (units / "virtual-media.service").readlink().name == "nbd-proxy.service"


def test_every_right_of_the_unit_is_explained():
    unit, text = (TOP / "packaging" / "nbd-proxy-helper@.service").read_text(), (TOP / "packaging" / "README.md").read_text()
    rights = re.search(r"^CapabilityBoundingSet=(.*)$", unit, re.M)[1].split()
    assert len(rights) == 4 and all(unit.count(right) == 2 for right in rights)
    assert all(f"`{right}`" in text for right in ("CAP_SYS_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"))
    daemon = (TOP / "packaging" / "nbd-proxy.service").read_text()
    assert re.search(r"^CapabilityBoundingSet=(.*)$", daemon, re.M)[1] == "" and "\nAmbientCapabilities" not in daemon
