"""The environment of all that is measured: the peers, beside our versions of everything else."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

from .scenarios import PEER_VERSION

ROOT = Path(__file__).parents[1]
PEER_VENV = ROOT / ".venv-peer"
PAGE = ROOT / "docs" / "performance.rst"
SHARED_PACKAGES = (
    *("Django", "boto3", "botocore", "s3transfer", "urllib3", "cryptography", "Pillow", "paramiko"),
    *("gunicorn", "uvicorn"),
)
PEERS = {"django-storages": PEER_VERSION, "django-private-storage": "3.1.3", "django-sendfile2": "0.7.2"}


def peer_python() -> str:
    """Return the interpreter of a virtual environment with the peers, which is made where it is stale."""
    python = PEER_VENV / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = [f"{name}=={version}" for name, version in versions().items()]
    stamp = PEER_VENV / "benchmark-packages.txt"
    if not stamp.exists() or stamp.read_text() != "\n".join(wanted):
        print(f"making {PEER_VENV.name} with {', '.join(PEERS)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", PEER_VENV], check=True)
        subprocess.run([python, "-m", "pip", "install", "-qq", *wanted], check=True)
        stamp.write_text("\n".join(wanted))
    return str(python)


def versions() -> dict[str, str]:
    """Return the version of each package in the environment that is measured."""
    return {**{name: importlib.metadata.version(name) for name in SHARED_PACKAGES}, **PEERS}
