"""TypeScript's compiler, from npm."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from .process import ServerError, npm_install

VERSION = "5.9.3"  # another one may find other faults
HOME = Path(__file__).resolve().parents[2] / ".servers" / f"typescript-{VERSION}"
PACKAGE = HOME / "node_modules" / "typescript"


def compile_strictly(*files: Path) -> str:
    """Return what ``tsc --strict`` has to say of files for a browser; raises ServerError where there is no compiler."""
    node = shutil.which("node")
    if node is None or not (PACKAGE.exists() or shutil.which("npm")):
        raise ServerError("no program 'node' or 'npm'; apt-get install nodejs npm")
    npm_install(HOME, PACKAGE / "package.json", f"typescript@{VERSION}", timeout=300)
    options = ["--strict", "--noEmit", "--noUnusedLocals", "--noUnusedParameters", "--exactOptionalPropertyTypes"]
    options += ["--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"]
    command = [node, str(PACKAGE / "bin" / "tsc"), *options, "--lib", "es2022,dom", *map(str, files)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    return done.stdout + done.stderr


def installed_version() -> str:
    return json.loads((PACKAGE / "package.json").read_text())["version"]
