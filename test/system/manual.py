"""The manual pages as they are read, and the examples in them and in docs/."""
import functools
import re
import subprocess
import textwrap

from conftest import TOP

WIDE = 1000 # columns: no line is broken


def render(source, *options):
    page = subprocess.run(["mandoc", "-T", "utf8", *options], input=source, capture_output=True, text=True, check=True)
    return re.sub(r".\x08", "", page.stdout).replace("\u2010", "-")


@functools.cache
def text(name, width=78):
    return render((TOP / "man" / name).read_text(), "-O", f"width={width}")


def section(page, title):
    """Of a page as text."""
    return re.search(rf"^{title}\n(.*?)(?=^\S)", page, re.M | re.S)[1]


def items(page, title):
    """A section's tagged lists: what stands at each tag, each a line."""
    return dict(re.findall(r"^ {5}(\S.*)\n {6,}(.+)$", section(page, title), re.M))


@functools.cache
def redfish_messages():
    """By name: the statuses it is sent with, and what is said of it."""
    found = {}
    for tag, words in items(text("nbd-proxy-redfish.7", WIDE), "MESSAGES").items():
        name, _, statuses = tag.partition(" ")
        found[name] = {int(s) for s in re.findall(r"\d+", statuses)}, re.sub(r"\s+", " ", words)
    return found


# --- examples ---


def literal(lines):
    """A display as it is shown, without its indentation."""
    page = render("\n".join([".Dd November 1, 2026", ".Dt X 7", ".Os", ".Sh X", *lines, ""]), "-O", f"width={WIDE}")
    return textwrap.dedent("\n".join(page.split("\nX\n")[1].splitlines()[:-1])).strip("\n") + "\n"


def examples(name):
    """The displays of the section EXAMPLES by subsection: each the name of the file that it is, or None, and its text."""
    found, title, file, block = {}, "", None, None
    for line in (TOP / "man" / name).read_text().partition(".Sh EXAMPLES\n")[2].splitlines():
        if block is not None:
            block.append(line)
            if line == ".Ed":
                found.setdefault(title, []).append((file, literal(block)))
                file = block = None
        elif line.startswith(".Sh"):
            break
        elif line.startswith(".Ss "):
            title, file = line[4:], None
        elif line.startswith(".Pa "):
            file = line.split()[1]
        elif line.startswith(".Bd -literal"):
            block = [line]
    return found


def blocks(page):
    """The indented blocks of a page in Markdown."""
    return [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", page.read_text(), re.M)]
