"""nbd-proxy-redfish(7) has every resource and every message of the Redfish service."""
import re

import pytest

import manual
from redfish_source import c_string, read, routes

PAGE = "nbd-proxy-redfish.7"
PLACEHOLDER = re.compile(r"/(?:SCHEMA|ID|NAME|ROLE|Slot_N)(?=/|$)") # what the page writes for "*"


def test_every_resource_is_in_the_manual():
    documented = {}
    for path, words in manual.items(manual.text(PAGE, manual.WIDE), "RESOURCES").items():
        methods = re.match(r"(?:[A-Z]+ \([\w ]+\),? ?)+", words)
        documented[PLACEHOLDER.sub("/*", path)] = methods[0].strip().split(", ") if methods else words
    assert len(documented) > 20 and documented == routes()


def messages():
    """Registry, name, words and resolution of each in the table."""
    code = read("answer.h", "messages.c")
    macros = dict(re.findall(r'^#define (\w+)(?:\(\w+\))? +("[^"]*"|[A-Z_]+)', code, re.M))
    string = r'((?:\s*(?:"[^"]*"|[A-Z_]+))+)'
    for registry, name, words, resolution in re.findall(
            rf'^    \{{(\w+)(?:\("[^"]*"\))?, "(\w+)", "\w+",{string},{string}\}},$', code, re.M):
        yield c_string(registry, macros).rstrip("."), name, c_string(words, macros), c_string(resolution, macros)


def test_every_message_is_in_the_manual_with_its_resolution():
    documented, rows = manual.redfish_messages(), list(messages())
    assert len(rows) > 40 and {name for _, name, _, _ in rows} == set(documented)
    page = manual.text(PAGE, manual.WIDE)
    for registry, name, words, resolution in rows:
        assert resolution in documented[name][1], name
        assert f"registry {registry}:" in page
        if registry.startswith("NbdProxy"): # the words of DMTF's are in its registries
            assert words.replace("  ", " ") in documented[name][1], name


def test_the_statuses_of_failed_inserts_are_in_the_manual():
    table = re.search(r"\} reasons\[\] = \{(.*?)^\};", read("insert.c"), re.M | re.S)[1]
    rows = re.findall(r'\{(\w+), (\d+), "(\w+)"', table)
    assert len(rows) > 10
    for _, status, name in rows:
        assert int(status) in manual.redfish_messages()[name][0], name


@pytest.mark.parametrize("page", ["nbd-proxy.8", "nbd-proxy.conf.5", "nbd-proxy-control.7"])
def test_the_other_pages_name_this_one(page):
    assert "nbd-proxy-redfish(7)" in manual.section(manual.text(page), "SEE ALSO")
