"""What the Redfish service's source says of its routes and messages."""
import re

from conftest import TOP

FOLDER = TOP / "src" / "api" / "redfish"


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
    """By path: the methods, each with its privilege, as in the manual."""
    code, found = read("call.h", "redfish.c"), {}
    macros = string_macros(code)
    table = re.search(r"struct redfish_route routes\[\] = \{(.*?)^\};", code, re.M | re.S)[1]
    for entry in re.split(r"^    (?=\{\.path)", re.sub(r"/\* .*?\*/", "", table), flags=re.M)[1:]:
        fields = dict(re.findall(r"\.(\w+) = ([^,}]+)", entry))
        methods = [("GET", "get", "reading"), ("GET", "document", "reading"), ("POST", "post", "changing"),
                   ("PATCH", "patch", "changing"), ("DELETE", "remove", "changing")]
        found[c_string(fields["path"], macros)] = [f"{method} ({privileges(fields[which])})"
                                                   for method, handler, which in methods if handler in fields]
    return found
