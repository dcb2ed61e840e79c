#!/usr/bin/env python3
"""A file includes its own folder and the layers below it, nothing else; and no two files have a static function of the
same name, so that a backtrace and a grep tell which it is."""
import collections
import pathlib
import re
import sys

# A folder's own rules, or those of the folder that it is in. A protocol of remote/ includes no other protocol.
PROTOCOL = {"base", "net", "link", "block", "remote"}
MAY = {
    "base": set(),
    "auth": {"base"},
    "store": {"base"},
    "net": {"base"},
    "http": {"base", "net"},
    "link": {"base"},
    "block": {"base"},
    "profile": {"base", "block"},
    "image": {"base", "block"},
    "seed": {"base", "block", "image"},
    "nbd": {"base", "block", "link", "net"},
    "remote": {"base", "block", "link", "net"},
    "remote/http": PROTOCOL | {"http"},
    "remote/ftp": PROTOCOL,
    "remote/sftp": PROTOCOL,
    "remote/smb": PROTOCOL,
    "remote/nfs": PROTOCOL,
    "source": {"base", "net", "link", "block", "nbd"},
    "dbus": {"base"},
    "kernel": {"base"},
    "config": {"base", "net", "remote"},
    "host": {"base", "dbus"},
    "helper": {"auth", "base", "host", "kernel", "net"},
    "slot": {"base", "net", "link", "block", "image", "seed", "profile", "nbd", "kernel", "remote", "source", "config"} |
            {"remote/" + protocol for protocol in ("ftp", "http", "nfs", "sftp", "smb")},
    "api": {"auth", "base", "dbus", "host", "net", "http", "config", "slot", "store"},
    "api/control": {"api", "auth", "base", "host", "net", "config", "slot"},
    "api/site": {"api", "auth", "base", "host", "net", "http", "config", "slot", "remote/http"},
    "api/redfish": {"api", "api/site", "auth", "base", "host", "net", "http", "config", "slot"},
    "api/web": {"api", "api/site", "api/redfish", "auth", "base", "host", "net", "http", "config", "slot", "store"},
    "doctor": {"api", "api/control", "api/web", "auth", "base", "block", "config", "ctl", "helper", "kernel", "link", "net", "remote",
               "remote/http", "slot"},
    "ctl": {"api/control", "auth", "base", "config", "host"},
    "api/bmcweb": {"api", "auth", "base", "dbus", "net", "config", "slot"},
}
# Who runs with rights knows no parser of what comes from a network.
# nbd knows streams, ios and the speed of a link, not how they are made; an origin is a matter of what is written.
ONLY = {
    ("nbd", "block"): {"io.h", "source.h"},
    ("nbd", "net"): {"stream.h"},
    ("profile", "block"): {"profile.h", "source.h"},
    ("helper", "net"): {"low_port.h"},
    ("helper", "auth"): {"pam.h", "password.h", "system_accounts.h", "users_file.h"},
    ("api/site", "remote/http"): {"post.h"},
    ("doctor", "api"): {"json.h"},
    ("doctor", "api/control"): {"control.h"},
    ("doctor", "api/web"): {"internal.h"},
    ("doctor", "auth"): {"users_file.h"},
    ("doctor", "ctl"): {"ctl_connection.h"},
    ("doctor", "helper"): {"rights.h"},
    ("doctor", "kernel"): {"kernel.h"},
    ("ctl", "api/control"): {"command.h", "control.h", "words.h"},
    ("ctl", "auth"): {"prompt.h"},
    ("ctl", "host"): {"host.h"},
    ("config", "remote"): {"origin.h", "image_location.h"},
    ("api/web", "api/redfish"): {"redfish.h"},
    ("remote/http", "http"): {"content_range.h"},
}

bad = []
root = pathlib.Path(sys.argv[1])
for path in sorted(root.rglob("*.[ch]")):
    layer = str(path.relative_to(root).parent)
    if layer == ".": # main.c, and what it is made of: above all layers
        continue
    for line in path.read_text().splitlines():
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not match:
            continue
        folder, _, name = match[1].rpartition("/")
        if not folder:
            bad.append(f"{path}: {match[1]}: write the folder")
        elif folder != layer and (folder not in MAY[layer] or name not in ONLY.get((layer, folder), {name})):
            bad.append(f"{path}: {layer} must not include {match[1]}")
        elif not (root / match[1]).exists():
            bad.append(f"{path}: {match[1]} is not there")

named = collections.defaultdict(set)
for path in sorted(root.rglob("*.c")):
    for match in re.finditer(r"^static [^=;{]*?\b(\w+)\([^;{]*\)\n\{", path.read_text(), re.M):
        named[match[1]].add(str(path))
bad += [f"{name}() is in {' and '.join(sorted(files))}: give it their modules' words"
        for name, files in named.items() if len(files) > 1]
print("\n".join(bad) or "every include goes down, and every function has a name of its own")
sys.exit(bool(bad))
