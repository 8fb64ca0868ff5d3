"""What the tests of FTP and SFTP share."""

from __future__ import annotations

import filecmp
import os
import tracemalloc

import pytest
from django.core.files import File

from tests.conftest import running

MIB = 1024**2
PIECE = 64 * 1024
PIECES = 1024


def served(cls):
    """Return a fixture of a server for a module, which skips where it cannot start."""

    @pytest.fixture(scope="module")
    def server(pytestconfig):
        yield from running(cls(), pytestconfig)

    return server


def peak_of(deed):
    """Return how many bytes Python allocates at the most while ``deed()`` runs."""
    tracemalloc.start()
    try:
        deed()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def move_large_files(storage, files, directory):
    """Save a file of 64 MiB, write one by many pieces, and read both; what the server has in ``files`` is right."""
    piece, original = os.urandom(PIECE), directory / "large.bin"
    with original.open("wb") as file:
        file.writelines(piece for _ in range(PIECES))
    with original.open("rb") as file:
        storage.save("saved.bin", File(file))
    with storage.open("written.bin", "wb") as file:
        for _ in range(PIECES):
            file.write(piece)
    for name in ("saved.bin", "written.bin"):
        assert filecmp.cmp(original, files / name, shallow=False)
        with storage.open(name) as file:
            assert all(file.read(PIECE) == piece for _ in range(PIECES))
            assert file.read() == b""


def read_a_little(storage, files):
    """Read 1 KiB of a file of 64 MiB."""
    (files / "a.bin").write_bytes(b"")
    os.truncate(files / "a.bin", 64 * MIB)
    with storage.open("a.bin") as file:
        assert file.read(1024) == bytes(1024)
