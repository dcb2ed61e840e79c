"""The packages name each file that `make install` installs, and none that it does not; their version is the build's."""
import fnmatch
import hashlib
import os
import re
import shutil
import subprocess

import pytest

from conftest import TOP
from test_install import build, tree  # noqa: F401 (fixtures)

PACKAGING = TOP / "packaging"
SPEC = (PACKAGING / "rpm" / "nbd-proxy.spec").read_text()
# What `make install` brings beside the data of the fixture: install-exec.
PROGRAMS = {"/usr/sbin/nbd-proxy", "/usr/bin/nbd-proxy", "/usr/bin/nbd-proxyctl"}
MACROS = {"_sysconfdir": "/etc", "_sharedstatedir": "/var/lib", "_bindir": "/usr/bin", "_sbindir": "/usr/sbin", "_prefix": "/usr",
          "_unitdir": "/usr/lib/systemd/system", "_datadir": "/usr/share", "_docdir": "/usr/share/doc", "_mandir": "/usr/share/man"}


def rpm_patterns():
    section = re.search(r"^%files\n(.*?)\n\n", SPEC, re.M | re.S)[1]
    paths = [line.split()[-1] for line in section.splitlines() if not line.startswith("%license")]
    return [re.sub(r"%\{(\w+)\}", lambda m: MACROS[m[1]], path) for path in paths]


def holds(pattern, path):
    return path.startswith(pattern) if pattern.endswith("/") else fnmatch.fnmatchcase(path, pattern)


@pytest.fixture(scope="module")
def installed(tree):  # noqa: F811
    files = {f"/{path.relative_to(tree)}" for path in tree.rglob("*") if path.is_symlink() or not path.is_dir()}
    empty = {f"/{path.relative_to(tree)}" for path in tree.rglob("*") if path.is_dir() and not any(path.iterdir())}
    return files | empty | PROGRAMS


def test_the_rpm_has_each_file(installed):
    patterns = rpm_patterns()
    without = [path for path in installed if not any(holds(pattern, path) for pattern in patterns)]
    assert not without, f"packaging/rpm/nbd-proxy.spec does not name {without}"


def test_the_rpm_names_nothing_else(installed):
    stale = [pattern for pattern in rpm_patterns() if not any(holds(pattern, path) for path in installed)]
    # D-Bus is in every package, and not in every build.
    assert [p for p in stale if "/dbus-1/" not in p] == [], stale


def test_the_packages_have_the_version_of_the_build():
    version = re.search(r"AC_INIT\(\[nbd-proxy\], \[(.*?)\]\)", (TOP / "configure.ac").read_text())[1]
    assert re.search(r"^Version:\s+(\S+)$", SPEC, re.M)[1] == version
    assert re.match(r"nbd-proxy \((.*?)-\d+\)", (PACKAGING / "debian" / "changelog").read_text())[1] == version


def test_debian_builds_with_what_configure_asks_for():
    asked = set(re.findall(r"install (lib[\w-]+-dev)", (TOP / "configure.ac").read_text()))
    control = (PACKAGING / "debian" / "control").read_text()
    assert asked, "configure names no package"
    assert [name for name in asked if not re.search(rf"\b{re.escape(name)}\b", control)] == []


@pytest.mark.parametrize("script", ["build-deb", "check-deb", "debian/nbd-proxy.postinst", "debian/nbd-proxy.postrm"])
def test_the_scripts_parse(script):
    shell = "bash" if "bash" in (PACKAGING / script).read_text().splitlines()[0] else "sh"
    done = subprocess.run([shell, "-n", PACKAGING / script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("enabled", (True, False))
def test_an_upgrade_stops_only_what_the_restart_behind_it_starts(enabled):
    function = re.search(r"^keep_media\(\) \{\n.*?^\}\n", (PACKAGING / "debian" / "nbd-proxy.postinst").read_text(), re.M | re.S)[0]
    stand_in = "systemctl() { echo \"$@\"; case $* in *is-enabled*) return $no ;; kill*) stopped=1 ;; *is-active*) return $stopped ;; esac; }\n"
    done = subprocess.run(["sh", "-ec", f"no={int(not enabled)} stopped=0\n{stand_in}{function}keep_media"], capture_output=True, text=True,
                          check=True, timeout=60)
    assert ("kill" in done.stdout) == enabled


def test_a_tarball_that_lies_in_somebodys_repository_is_packaged_whole(folder):
    tree = folder / "mine" / "nbd-proxy"
    shutil.copytree(PACKAGING / "debian", tree / "packaging" / "debian")
    for name in ("packaging/build-deb", "configure.ac"):
        shutil.copy(TOP / name, tree / name)
    subprocess.run(["git", "init", "-q", folder / "mine"], check=True, timeout=60)
    (folder / "mine" / ".gitignore").write_text("nbd-proxy\n")
    (folder / "dpkg-buildpackage").write_text("#!/bin/sh\nls\n")
    (folder / "dpkg-buildpackage").chmod(0o755)
    built = subprocess.run([tree / "packaging" / "build-deb", folder / "out"], env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
                           stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout
    assert built.split() == ["configure.ac", "debian", "packaging"]


# --- OpenEmbedded ---

LAYER = PACKAGING / "openembedded"
RECIPE = LAYER / "recipes-extended" / "nbd-proxy" / "nbd-proxy_git.bb"
# The recipe of what configure asks pkg-config for, where the names differ.
RECIPE_OF = {"libcurl": "curl", "libllhttp": "llhttp", "libwslay": "wslay", "libsystemd": "systemd"}
# What a build for a BMC does not take: tests, and what is for developers.
NOT_FOR_A_BMC = {"sanitizers", "werror", "fuzzers", "llhttp-source", "dbuspolicydir", "systemdsystemunitdir"}


def assignments(path):
    """Of a recipe or a layer.conf: what each variable is given, as words. A line that is neither that, nor part of a function, fails."""
    found = {}
    text = re.sub(r"\\\n", " ", path.read_text())
    text = re.sub(r"^[\w:-]+\(\) \{\n.*?^\}\n", "", text, flags=re.M | re.S)
    for line in text.splitlines():
        if not line or line.startswith(("#", "inherit ")):
            continue
        match = re.fullmatch(r"([\w\[\]:${}-]+) *(\?\?=|\?=|\+=|=\+|:=|\.=|=) *\"([^\"]*)\"", line)
        assert match, f"{path}: {line}"
        found.setdefault(match[1], []).extend(match[3].split())
    return found


def configure_names(kind):
    return set(re.findall(rf"AC_ARG_{kind}\(\[([\w-]+)\]", (TOP / "configure.ac").read_text()))


def part_options(recipe):
    return {name[len("PACKAGECONFIG["):-1]: " ".join(words).split(",") for name, words in recipe.items() if name.startswith("PACKAGECONFIG[")}


def test_each_file_of_the_layer_parses():
    files = [path for end in ("*.bb", "*.bbappend", "layer.conf") for path in LAYER.rglob(end)]
    assert len(files) == 6
    for path in files:
        assert assignments(path)
    for path in LAYER.rglob("recipes-support/*/*.bb"):
        values = assignments(path)
        assert re.fullmatch("[0-9a-f]{40}", values["SRCREV"][0]) and "md5=" in values["LIC_FILES_CHKSUM"][0], path


def test_each_part_of_configure_is_a_packageconfig():
    optional = (configure_names("WITH") | configure_names("ENABLE")) - NOT_FOR_A_BMC
    parts = part_options(assignments(RECIPE))
    assert set(parts) == optional
    for name, (on, off, *_) in parts.items():
        assert f"--with-{name}" in on.split() or f"--enable-{name}" in on.split()
        assert f"--without-{name}" in off.split() or f"--disable-{name}" in off.split()


def test_no_option_of_the_recipe_is_unknown_to_configure():
    recipe = assignments(RECIPE)
    given = [word for on, off, *_ in part_options(recipe).values() for word in (on + " " + off).split()]
    for option in given:
        kind, name = re.match(r"--(with|enable)(?:out)?-([\w-]+)", option.replace("--disable-", "--enable-")).groups()
        assert name in configure_names(kind.upper()), option
    assert [option for option in recipe["EXTRA_OECONF"] if not option.startswith(("--sysconfdir=", "--localstatedir="))] == []


def test_the_recipe_depends_on_what_configure_needs():
    text = (TOP / "configure.ac").read_text()
    modules = {RECIPE_OF.get(name, name) for name in re.findall(r"PKG_CHECK_MODULES\(\[\w+\], \[([\w-]+)", text)} - {"cmocka"}
    recipe = assignments(RECIPE)
    optional = {words[2] for words in part_options(recipe).values()}
    assert set(recipe["DEPENDS"]) | optional - {"libpam"} == modules | {"libseccomp"}
    ours = {path.name.split("_")[0] for path in LAYER.rglob("recipes-support/*/*.bb")}
    assert ours <= modules


def test_the_license_is_the_recipes():
    assert f"md5={hashlib.md5((TOP / 'LICENSE').read_bytes()).hexdigest()}" in assignments(RECIPE)["LIC_FILES_CHKSUM"][0]


def test_jsnbd_is_replaced():
    recipe = assignments(RECIPE)
    assert all("jsnbd" in recipe[name + ":${PN}"] for name in ("RPROVIDES", "RREPLACES", "RCONFLICTS"))
    assert assignments(LAYER / "conf" / "layer.conf")["PREFERRED_RPROVIDER_jsnbd"] == ["nbd-proxy"]


def test_the_kernel_has_the_modules_that_are_loaded():
    names = {"nbd": "BLK_DEV_NBD", "libcomposite": "USB_LIBCOMPOSITE", "usb_f_mass_storage": "USB_F_MASS_STORAGE"}
    loaded = [line for line in (PACKAGING / "modules-load.d" / "nbd-proxy.conf").read_text().splitlines() if line[0] != "#"]
    fragment = next(LAYER.rglob("nbd-proxy.cfg")).read_text()
    assert [name for name in loaded if f"CONFIG_{names[name]}=" not in fragment] == []
