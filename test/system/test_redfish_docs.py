"""nbd-proxy-redfish(7) has every resource and every message of the Redfish service."""
import re

import pytest

import manual
from conftest import TOP

PAGE = "nbd-proxy-redfish.7"
FOLDER = TOP / "src" / "api" / "redfish"
PLACEHOLDER = re.compile(r"/(?:SCHEMA|ID|NAME|ROLE|Slot_N)(?=/|$)") # what the page writes for "*"


def read(*names):
    return "".join((FOLDER / name).read_text() for name in names)


def c_string(text, macros):
    """A string literal in pieces, some of them macros, the last maybe of one argument."""
    pieces = re.findall(r'"((?:[^"\\]|\\.)*)"|(\w+)(?:\("([^"]*)"\))?', text)
    return "".join(piece if not name else c_string(macros[name], macros).replace("%", argument)
                   for piece, name, argument in pieces)


def string_macros(code):
    macros = dict(re.findall(r'^#define (\w+) +((?:"[^"]*"|[A-Z_]+)(?: +(?:"[^"]*"|[A-Z_]+))*)$', code, re.M))
    for name, value in re.findall(r'^#define (\w+)\(name\) +(.*"[^"]*") name$', code, re.M):
        macros[name] = value + ' "%"'
    return macros


def privileges(text):
    if "REDFISH_PUBLIC" in text:
        return "anybody"
    return " and ".join("".join(word.capitalize() for word in name.split("_"))
                        for name in re.findall(r"AUTH_(\w+)", text))


def routes():
    """By path: the methods, each with its privilege, as the page writes them."""
    code, found = read("internal.h", "redfish.c"), {}
    macros = string_macros(code)
    table = re.search(r"struct redfish_route routes\[\] = \{(.*?)^\};", code, re.M | re.S)[1]
    for entry in re.split(r"^    (?=\{\.path)", re.sub(r"/\* .*?\*/", "", table), flags=re.M)[1:]:
        fields = dict(re.findall(r"\.(\w+) = ([^,}]+)", entry))
        methods = [("GET", "get", "reading"), ("GET", "document", "reading"), ("POST", "post", "changing"),
                   ("PATCH", "patch", "changing"), ("DELETE", "remove", "changing")]
        found[c_string(fields["path"], macros)] = [f"{method} ({privileges(fields[which])})"
                                                   for method, handler, which in methods if handler in fields]
    return found


def test_every_resource_is_in_the_manual():
    documented = {}
    for path, words in manual.items(manual.text(PAGE, manual.WIDE), "RESOURCES").items():
        methods = re.match(r"(?:[A-Z]+ \([\w ]+\),? ?)+", words)
        documented[PLACEHOLDER.sub("/*", path)] = methods[0].strip().split(", ") if methods else words
    assert len(documented) > 20 and documented == routes()


def messages():
    """Registry, name, words and resolution of each in the table."""
    code = read("internal.h", "messages.c")
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
