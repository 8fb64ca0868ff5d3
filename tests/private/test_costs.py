"""What one request may cost, in what can be counted: looks at the disk, headers, storages."""

from __future__ import annotations

import asyncio
import builtins
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage, storages
from django.http.response import ResponseHeaders
from django.test import AsyncRequestFactory

from storages.private.models import PrivateFile
from storages.private.responses import stream
from storages.private.storage import PrivateFileSystemStorage
from storages.private.views import PrivateStorageView

LOOKS = [("GET", "django", ["lstat", "lstat", "open", "fstat"]), ("HEAD", "django", ["lstat", "lstat", "stat"])]
LOOKS += [("GET", server, ["lstat", "lstat", "stat"]) for server in ("nginx", "apache", "lighttpd")]
DISK = "django.core.files.storage.FileSystemStorage"


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "deep/down/root"
    (root / "dir").mkdir(parents=True)
    (root / "dir/a.txt").write_bytes(b"content")
    return root


@pytest.fixture
def looks(root, monkeypatch):
    """The system calls about a file of the test, in their order."""
    made: list[str] = []
    known = (root / "dir/a.txt").stat()

    def count(where: Any, name: str) -> None:
        call: Callable[..., Any] = getattr(where, name)

        def counted(path: Any, *args: Any, **options: Any) -> Any:
            answer = call(path, *args, **options)
            if os.path.samestat(answer, known) if name == "fstat" else str(path).startswith(str(root.parents[2])):
                made.append(name)
            return answer

        monkeypatch.setattr(where, name, counted)

    for name in ("lstat", "stat", "fstat", "readlink"):
        count(os, name)
    count(builtins, "open")
    return made


def serve(request, storage, server="django"):
    view = PrivateStorageView.as_view(storage=storage, server_class=server, can_access_file=lambda private_file: True)
    response = view(request, path="dir/a.txt")
    response.close()
    assert response.status_code == 200
    return response


@pytest.mark.parametrize("cls", [PrivateFileSystemStorage, FileSystemStorage])
@pytest.mark.parametrize(("method", "server", "calls"), LOOKS)
def test_disk_is_asked_once_for_each_part_of_the_name(request_of, root, looks, cls, method, server, calls):
    serve(request_of(method=method), cls(location=str(root)), server)
    assert looks == calls


def test_root_that_is_a_link_costs_no_more(request_of, root, looks):
    (root.parent / "alias").symlink_to(root)
    looks.clear()
    serve(request_of(), FileSystemStorage(root.parent / "alias"))
    assert looks == ["lstat", "lstat", "open", "fstat"]


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=1-2"}])
def test_asgi_asks_a_thread_once_for_a_small_file(root, monkeypatch, headers):
    asked = []
    to_thread = asyncio.to_thread

    async def counted(function, *args):
        asked.append(function)
        return await to_thread(function, *args)

    async def run():
        request = AsyncRequestFactory().get("/", headers=headers)
        response = stream(PrivateFile(request, FileSystemStorage(root), "dir/a.txt"))
        chunks = [chunk async for chunk in response.streaming_content]
        response.close()
        return b"".join(chunks)

    monkeypatch.setattr(asyncio, "to_thread", counted)
    assert asyncio.run(run())
    assert len(asked) == 1


@pytest.mark.parametrize("server", ["django", "nginx"])
def test_each_header_is_made_once_but_the_type(request_of, root, monkeypatch, server):
    made: Counter[str] = Counter()
    set_item = ResponseHeaders.__setitem__

    def counted(headers, name, value):
        made[name] += 1
        set_item(headers, name, value)

    monkeypatch.setattr(ResponseHeaders, "__setitem__", counted)
    response = serve(request_of(), FileSystemStorage(root), server)
    assert set(made) == set(response.headers)
    assert made - Counter(response.headers.keys()) == {"Content-Type": 1}


@pytest.mark.parametrize("server", ["django", "nginx"])
def test_headers_of_the_request_are_not_copied(request_of, root, monkeypatch, server):
    request = request_of(If_None_Match='"x"', If_Range='"x"', Range="bytes=0-99")
    monkeypatch.setattr(type(request), "headers", None)
    serve(request, FileSystemStorage(root), server)


def test_storages_that_are_not_asked_for_are_not_made(request_of, root, settings):
    settings.STORAGES = {
        "private": {"BACKEND": DISK, "OPTIONS": {"location": str(root)}},
        "other": {"BACKEND": DISK, "OPTIONS": {"unknown": "option"}},  # TypeError
    }
    response = serve(request_of(), storages["private"], "nginx")
    assert response.headers["X-Accel-Redirect"] == "/private-x-accel-redirect/dir/a.txt"
