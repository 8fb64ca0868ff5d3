"""Make the virtual environment, with what one make target needs; the second time it does nothing.

Usage: bootstrap.py TARGET, a key of TARGETS. Standard library only.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
MARKER = VENV / "installed.json"
POLICY = Path("/usr/sbin/policy-rc.d")  # what Debian asks before it starts a service


class Programs(NamedTuple):
    """Programs that come from the operating system, not from pip."""

    purpose: str
    wanted: list[str]  # any name of each: "chromium|google-chrome"; a path may have wildcards
    packages: list[str]  # Debian's
    services: tuple[str, ...] = ()  # that come with them, and are not to run


CEPH = Programs(
    "Ceph RGW, the second S3 server of the tests",
    ["ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin"],
    ["radosgw", "ceph-mon", "ceph-osd", "ceph-common"],
)
NODE = Programs(
    "Node.js, for Azurite, the Azure server of the tests, axe-core and TypeScript", ["node", "npm"], ["nodejs", "npm"]
)
OPENSSH = Programs("OpenSSH, the SFTP server of the tests", ["sshd"], ["openssh-server"])
PROFTPD = Programs(
    "ProFTPD, the FTPS server of the tests", ["proftpd", "openssl"], ["proftpd-core", "proftpd-mod-crypto", "openssl"]
)
NGINX = Programs("nginx, which sends private files in the tests", ["nginx"], ["nginx"], ("nginx",))
# Not the package apache2, which is a service.
APACHE = Programs(
    "Apache, which sends private files in the tests",
    ["apache2", "/usr/lib/apache2/modules/mod_xsendfile.so"],
    ["apache2-bin", "libapache2-mod-xsendfile"],
)
LIGHTTPD = Programs("lighttpd, which sends private files in the tests", ["lighttpd"], ["lighttpd"], ("lighttpd",))
CHROMIUM = Programs(
    "Chromium, which drives the demo and the upload widget of the tests",
    ["chromium|chromium-browser|google-chrome"],
    ["chromium"],
)
POSTGRESQL = Programs(
    "PostgreSQL, whose connections race in the tests",
    ["postgres|/usr/lib/postgresql/*/bin/postgres"],
    ["postgresql"],
    ("postgresql",),
)
MARIADB = Programs(
    "MariaDB, whose connections race in the tests",
    ["mariadbd", "mariadb-install-db"],
    ["mariadb-server"],
    ("mariadb",),
)
SERVERS = [CEPH, NODE, OPENSSH, PROFTPD, NGINX, APACHE, LIGHTTPD, CHROMIUM, POSTGRESQL, MARIADB]

# What a make target needs: extras of setup.cfg, programs of the system.
TARGETS: dict[str, tuple[list[str], list[Programs]]] = {
    "test": (["test"], SERVERS),
    "check": (["test", "docs", "check"], []),
    "demo": (["demo"], []),
    "demo-check": (["demo-check"], [CHROMIUM]),
    "tox": (["check"], SERVERS),
}


class Stop(Exception):
    """The environment cannot be made; the text says what to do."""


def main(target: str) -> None:
    extras, programs = TARGETS[target]
    make_venv()
    install(extras)
    for program in programs:
        install_programs(program)


# The virtual environment


def make_venv() -> None:
    """Make .venv unless there is one whose Python runs and is new enough."""
    if venv_works():
        return
    print(f"Making .venv with Python {sys.version.split()[0]}", flush=True)
    if importlib.util.find_spec("ensurepip") is None:
        install_ensurepip()
    try:
        venv.create(VENV, clear=True, with_pip=True, symlinks=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Stop(f"Cannot make {VENV}: {error}\nIs the directory yours to write to, and is there room?") from error


def venv_works() -> bool:
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 10))"
    try:
        return subprocess.run([PYTHON, "-c", probe], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def install_ensurepip() -> None:
    """Install what Debian leaves out of its Python, or say how to."""
    package = f"python3.{sys.version_info.minor}-venv"
    advice = f"This Python has no ensurepip. Install it: sudo apt-get install {package}"
    if not can_apt() or not apt_install([package]):
        raise Stop(advice)
    importlib.invalidate_caches()
    if importlib.util.find_spec("ensurepip") is None:
        raise Stop(advice)


# Packages


def install(extras: list[str]) -> None:
    """Install this project with its extras, unless that was done since setup.cfg changed."""
    # With the path, since the installed project is a link to it, and a copied tree has a copied .venv.
    digest = hashlib.sha256((ROOT / "setup.cfg").read_bytes() + bytes(ROOT)).hexdigest()
    installed = read_marker(digest)
    if set(extras) <= set(installed):
        return
    wanted = sorted({*installed, *extras})
    print(f"Installing the packages for {', '.join(wanted)}", flush=True)
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "2"]
    command += ["--editable", f"{ROOT}[{','.join(wanted)}]"]
    if subprocess.run(command, check=False).returncode:
        raise Stop("pip could not install the packages; its message is above. Is there a network, or a package index?")
    MARKER.write_text(json.dumps({"digest": digest, "extras": wanted}))


def read_marker(digest: str) -> list[str]:
    """Return the extras that are installed as setup.cfg has them now."""
    try:
        marker = json.loads(MARKER.read_text())
    except (OSError, ValueError):
        return []
    return marker["extras"] if marker["digest"] == digest else []


# Programs of the system


def install_programs(programs: Programs) -> None:
    """Install what is missing where apt can; else say so and go on, for its tests say that they are skipped."""
    missing = [names for names in programs.wanted if not any(map(find, names.split("|")))]
    if not missing:
        return
    command = f"apt-get install --no-install-recommends {' '.join(programs.packages)}"
    if not can_apt():
        print(f"{programs.purpose}, is not here and only an administrator of a Debian can install it: {command}")
        return
    with nothing_started():
        if not apt_install(programs.packages):
            print(f"{programs.purpose}, could not be installed: {command}")
    if programs.services and shutil.which("systemctl"):
        subprocess.run(["systemctl", "disable", *programs.services], check=False, capture_output=True)


@contextlib.contextmanager
def nothing_started() -> Iterator[None]:
    """Keep apt from starting the services that it installs, of which some take port 80."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def find(name: str) -> str | None:
    if os.path.isabs(name):
        return next(iter(glob.glob(name)), None)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def can_apt() -> bool:
    return shutil.which("apt-get") is not None and os.geteuid() == 0


def apt_install(packages: list[str]) -> bool:
    """Install Debian packages as root, quietly; on failure show what apt said."""
    print(f"Installing {' '.join(packages)} with apt", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", "-qq", *arguments], check=False, capture_output=True, text=True, env=environment
        )
        if done.returncode:
            print(done.stdout[-2000:] + done.stderr[-2000:])
            return False
    return True


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: bootstrap.py {'|'.join(TARGETS)}")
    try:
        main(sys.argv[1])
    except Stop as stop:
        sys.exit(str(stop))
    except PermissionError as error:
        sys.exit(f"{error}\nThis directory has to be yours to write to.")
