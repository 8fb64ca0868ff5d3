"""Names that lead elsewhere: none is served, none reaches a policy or a storage as what it is not."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from django.core.exceptions import PermissionDenied
from django.core.files.storage import FileSystemStorage
from django.http import Http404, HttpResponse
from django.test import Client, override_settings

from storages.private import names
from storages.private.models import PrivateFile
from storages.private.servers import DjangoServer
from storages.private.storage import PrivateFileSystemStorage
from storages.private.views import PrivateStorageView

# Refused before anybody is asked.
REFUSED = [
    *("", ".", "..", "/", "//", "./", "../", "\\"),
    *("public/../secret.txt", "public/./a.txt", "public//a.txt", "./public/a.txt", "public/a.txt/.", "public/"),
    *(
        "public/..",
        "../secret.txt",
        "../../etc/passwd",
        "a/../../etc/passwd",
        "public/../public/a.txt",
        "public/a.txt/",
    ),
    *("/etc/passwd", "//etc/passwd", "/public/a.txt", "public\\a.txt", "public\\..\\secret.txt", "..\\secret.txt"),
    *("C:\\secret.txt", "\\\\server\\share\\a", "public/a.txt\x00", "public/a.txt\x00.png", "\x00", "public/\ra.txt"),
    *("public/a.txt\n", "a\r\nSet-Cookie: x=1", "public/\x1fa.txt", "public/a\x7f.txt", "public/\ud800.txt"),
    *("public/a\udcff.txt", "a/" * 3000 + "a", "ü" * 2500, "public/.//../secret.txt", "https://evil.example/x"),
    "file:///etc/passwd",
]
# Names like others: files of their own, which are not there.
OTHERS = [
    *("public/a.txt ", "public/a.txt.", " public/a.txt", "public /a.txt", "public./a.txt", "PUBLIC/A.TXT", "~/a.txt"),
    *("%2e%2e/secret.txt", "public/%2e%2e/secret.txt", "public%2fa.txt", "%2fetc%2fpasswd", "public/%00a.txt"),
    *(
        "public/..;/secret.txt",
        "public/…/secret.txt",
        "．．/secret.txt",
        "public／a.txt",
        "public∕a.txt",
        "public⧵a.txt",
    ),
    *("public/a\u0301.txt", "public/\u200ba.txt", "public/\u202etxt.a", "public/a.txt::$DATA", "public/a.txt:x", "CON"),
    *("a" * 300, "public/a.txt/x", "public/a.txt?x=1", "public/a.txt#x", "https:/evil.example"),
    *("...", "public/...", "public/\x85a.txt", "public/*", "public/[ab].txt", "$HOME", "`id`"),
    *("public", "ｐublic/a.txt", "public/ａ.txt", "-rf", "public/a.txt|x", "public/\u2028a.txt"),
]


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "public").mkdir(parents=True)
    (root / "public/a.txt").write_bytes(b"public")
    (root / "secret.txt").write_bytes(b"secret")
    (tmp_path / "outside.txt").write_bytes(b"outside")
    return root


@pytest.fixture
def storage(root):
    return FileSystemStorage(root)


class PrefixView(PrivateStorageView):
    """The rule of a project that trusts the start of a name."""

    seen: list = []

    def can_access_file(self, private_file):
        self.seen.append(private_file.relative_name)
        return private_file.relative_name.startswith("public/") or "secret" not in private_file.relative_name


class Careless:
    """A delivery of a project that opens what it is told to."""

    @staticmethod
    def serve(private_file):
        with Path(private_file.full_path).open("rb") as opened:
            return HttpResponse(opened.read())


def answer(request, storage, name, **attributes):
    """Return what a client gets for a name that came to the view as it is."""
    PrefixView.seen = []
    try:
        return PrefixView.as_view(storage=storage, **attributes)(request, path=name)
    except (Http404, PermissionDenied) as error:
        return error


def body_of(response):
    with contextlib.closing(response):
        return b"".join(response)


@pytest.mark.threat("T-03")
@pytest.mark.threat("T-04")
@pytest.mark.seed("S5")
@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_hostile_name_is_missing_and_nobody_is_asked(request_of, storage, memory, name, method):
    for one in (storage, memory):
        response = answer(request_of(method=method), one, name)
        assert response.status_code == 404
        assert response.content == b"Not found"
    assert PrefixView.seen == []
    assert memory.calls == []


@pytest.mark.threat("T-03")
@pytest.mark.parametrize("name", OTHERS)
def test_name_like_another_is_a_file_of_its_own(request_of, storage, memory, name):
    for one in (storage, memory):
        response = answer(request_of(), one, name)
        if isinstance(response, PermissionDenied):
            continue
        assert response.status_code == 404
        assert response.content == b"Not found"
        assert PrefixView.seen == [name]


@pytest.mark.threat("T-03")
@pytest.mark.parametrize(
    "name", ["public/a.txt ", "%2e%2e/x", "public/..;/x", "．．/x", "a#b?c.txt", "...", "public/a\u0301"]
)
def test_odd_name_that_is_there_is_served_as_itself(request_of, storage, root, name):
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(b"odd")
    response = answer(request_of(), storage, name)
    assert body_of(response) == b"odd"


def test_there_are_forty_of_each():
    assert len(set(REFUSED)) >= 40
    assert len(set(OTHERS)) >= 40


@pytest.mark.threat("T-03")
@pytest.mark.parametrize(
    "path",
    [
        "public/../secret.txt",
        "public/%2e%2e/secret.txt",
        "public/%2E%2E%2Fsecret.txt",
        "public/%252e%252e/secret.txt",
        "public/..%5csecret.txt",
        "%2e%2e%2f%2e%2e%2fetc/passwd",
        "public/a.txt%00",
        "public/a.txt%0A",
        "public/a.txt%0D%0AX:%20y",
        "//public/a.txt",
        "public/%ff%fe.txt",
        "public/%c0%ae%c0%ae/secret.txt",
        "public/%ed%a0%80.txt",
        quote("a" * 9000),
    ],
)
def test_hostile_url_is_missing(memory, path):
    with override_settings(PRIVATE_STORAGE_AUTH_FUNCTION=lambda private_file: True):
        response = Client(raise_request_exception=False).get(f"/memory/{path}")
    assert response.status_code == 404
    assert b"secret" not in response.content or path.encode() in response.content


# Links on disk


@pytest.mark.threat("T-04")
@pytest.mark.parametrize("name", ["link.txt", "linked/outside.txt", "chain.txt", "loop", "pipe", "public", "nothing"])
def test_what_is_no_file_below_the_root_is_missing(request_of, storage, root, name):
    (root / "link.txt").symlink_to("../outside.txt")
    (root / "chain.txt").symlink_to("link.txt")
    (root / "linked").symlink_to("..")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "pipe")
    private_file = PrivateFile(request_of(), storage, name)
    with pytest.raises(FileNotFoundError):
        _ = private_file.resolved_path
    with pytest.raises(FileNotFoundError):
        private_file.open()
    for server in ("django", Careless):
        assert answer(request_of(), storage, name, server_class=server).status_code == 404


@pytest.mark.threat("T-03")
@pytest.mark.parametrize("cls", [FileSystemStorage, PrivateFileSystemStorage])
@pytest.mark.parametrize("name", ["", ".", "..", "../outside.txt", "public/../../outside.txt", "public/..", "{root}"])
def test_name_that_leads_up_is_missing_also_where_no_view_has_looked_at_it(request_of, root, cls, name):
    private_file = PrivateFile(request_of(), cls(location=str(root)), name.format(root=root.parent / "outside.txt"))
    with pytest.raises(FileNotFoundError):
        _ = private_file.resolved_path
    with pytest.raises(FileNotFoundError):
        private_file.open()
    with pytest.raises(FileNotFoundError):
        DjangoServer.serve(private_file)


def test_file_is_looked_for_again_when_a_view_gives_another_name(request_of, storage, root):
    private_file = PrivateFile(request_of(), storage, "secret.txt")
    private_file.stay_inside()
    private_file.relative_name = "public/a.txt"
    assert private_file.resolved_path == str((root / "public/a.txt").resolve())
    assert body_of(DjangoServer.serve(private_file)) == b"public"


@pytest.mark.threat("T-04")
def test_link_within_the_root_and_a_root_behind_a_link_are_followed(request_of, root):
    (root / "same.txt").symlink_to("public/a.txt")
    (root / "there and back").symlink_to("../root/public")
    (root.parent / "alias").symlink_to("root")
    behind = FileSystemStorage(root.parent / "alias")
    assert Path(*names.local_place(behind, "same.txt")).resolve() == (root / "public/a.txt").resolve()
    assert Path(*names.local_place(behind, "there and back/a.txt")).resolve() == (root / "public/a.txt").resolve()
    assert body_of(answer(request_of(), behind, "same.txt")) == b"public"


@pytest.mark.threat("T-04")
def test_sibling_that_begins_like_the_root_is_outside(storage, root):
    (root.parent / "root-of-others").mkdir()
    (root.parent / "root-of-others/a.txt").write_bytes(b"theirs")
    (root / "a.txt").symlink_to("../root-of-others/a.txt")
    with pytest.raises(FileNotFoundError):
        names.local_place(storage, "a.txt")


def test_storage_that_is_not_on_disk_has_no_local_path(memory):
    with pytest.raises(NotImplementedError):
        names.local_place(memory, "a.txt")


def test_path_that_is_none_of_a_disk_is_not_looked_up(memory, monkeypatch):
    monkeypatch.setattr(type(memory), "path", lambda self, name: f"bucket/{name}", raising=False)
    with pytest.raises(NotImplementedError):
        names.local_place(memory, "a.txt")
