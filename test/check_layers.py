#!/usr/bin/env python3
"""A file includes its own folder and the layers below it, nothing else."""
import pathlib
import re
import sys

MAY = {
    "base": set(),
    "auth": {"base"},
    "store": {"base"},
    "net": {"base"},
    "block": {"base"},
    "nbd": {"base", "block", "net"},
    "source": {"base", "net", "block", "nbd"},
    "dbus": {"base"},
    "kernel": {"base"},
    "config": {"base", "net"},
    "host": {"base", "dbus"},
    "slot": {"base", "net", "block", "nbd", "kernel", "source", "config"},
    "api": {"auth", "base", "dbus", "host", "net", "config", "slot", "store"},
}
# nbd knows streams, ios and the speed of a link, not how they are made; api needs to know how much is cached.
ONLY = {("nbd", "block"): {"io.h", "link_estimate.h", "source.h"}, ("nbd", "net"): {"stream.h"}}

bad = []
root = pathlib.Path(sys.argv[1])
for path in sorted(root.rglob("*.[ch]")):
    layer = path.relative_to(root).parts[0]
    if layer == "main.c":
        continue
    for line in path.read_text().splitlines():
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not match:
            continue
        path_of, _, name = match[1].rpartition("/")
        folder = path_of.partition("/")[0]
        if not folder:
            bad.append(f"{path}: {match[1]}: write the folder")
        elif folder != layer and (folder not in MAY[layer] or name not in ONLY.get((layer, folder), {name})):
            bad.append(f"{path}: {layer} must not include {match[1]}")
        elif not (root / match[1]).exists():
            bad.append(f"{path}: {match[1]} is not there")
print("\n".join(bad) or "every include goes down")
sys.exit(bool(bad))
