"""What a browser may do with a link that DropboxStorage asks for, on the fake, which follows Dropbox's documentation.

A link is for one upload to one path, adds a file, and replaces none. Dropbox looks at no size and no type: those are
looked at when the upload is over, and the storage says so.
"""

from __future__ import annotations

import json
import ssl
import time
from typing import Any

import pytest

from storages.backends.dropbox import LARGEST_UPLOAD, DropboxStorage, content_hash
from storages.contract import Enforced, UploadLimits, UploadTerms
from tests.servers.dropbox import APP_KEY, APP_SECRET, REFRESH_TOKEN, TOKEN, FakeDropbox, File, Refusal
from tests.uploads.sending import send

# The SDK calls it for each request that a refresh token may be needed for.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcnow.. is deprecated:DeprecationWarning")

TERMS = UploadTerms(size=3, content_type="image/png", seconds=300)


@pytest.fixture
def fake():
    with FakeDropbox() as fake, fake.reached():
        yield fake


@pytest.fixture
def storage(fake):
    return made(fake)


@pytest.fixture
def context(fake):
    return ssl.create_default_context(cafile=str(fake.certificate))


@pytest.fixture
def link(storage):
    return storage.presign_upload("dir/a.png", "link", TERMS)


def made(fake, **options: Any) -> DropboxStorage:
    return DropboxStorage(**{"oauth2_access_token": TOKEN, "ca_certs": str(fake.certificate), **options})


def contents(fake) -> dict[str, bytes]:
    return {path: node.content for path, node in fake.nodes.items() if isinstance(node, File)}


def test_service_keeps_a_second_write_and_nothing_else_and_that_is_said(storage, fake):
    assert storage.upload_kinds == {
        "link": Enforced("finish", "finish", "none", "denied", UploadLimits(LARGEST_UPLOAD))
    }
    assert fake.requests == []


@pytest.mark.parametrize("name", ["a.png", "dir/with space.png", "文件 é.png"])
@pytest.mark.parametrize("root", ["/", "/site/media"])
def test_link_makes_the_file(fake, context, root, name):
    storage = made(fake, root_path=root)
    answer = send(storage.presign_upload(name, "link", TERMS), b"abc", context=context)
    assert (answer.status, json.loads(answer.body)) == (200, {"content-hash": content_hash(b"abc")})
    assert contents(fake) == {f"{root.rstrip('/')}/{name}".lower(): b"abc"}
    assert storage.size(name) == 3


@pytest.mark.threat("T-22")
def test_link_is_for_adding_one_file(fake, link):
    (found,) = fake.upload_links.values()
    asked = {name: found.commit[name] for name in ("path", "mode", "autorename", "strict_conflict")}
    assert asked == {"path": "/dir/a.png", "mode": {".tag": "add"}, "autorename": False, "strict_conflict": True}
    assert (link.method, link.headers) == ("POST", {"Content-Type": "application/octet-stream"})


@pytest.mark.parametrize("options", [{"write_mode": "overwrite"}, {"file_overwrite": True}])
@pytest.mark.threat("T-24")
def test_link_replaces_nothing_even_where_the_storage_does(fake, context, options):
    storage = made(fake, **options)
    links = [storage.presign_upload("a.png", "link", TERMS) for _ in range(2)]
    assert [send(one, body, context=context).status for one, body in zip(links, (b"abc", b"xyz"), strict=True)] == [
        200,
        409,
    ]
    assert contents(fake) == {"/a.png": b"abc"}


@pytest.mark.threat("T-24")
def test_link_is_for_one_upload(fake, link, context):
    assert [send(link, body, context=context).status for body in (b"abc", b"xyz")] == [200, 404]
    assert contents(fake) == {"/dir/a.png": b"abc"}


@pytest.mark.threat("T-24")
def test_the_same_bytes_are_a_conflict_too(fake, storage, context):
    links = [storage.presign_upload("a.png", "link", TERMS) for _ in range(2)]
    assert [send(one, b"abc", context=context).status for one in links] == [200, 409]


@pytest.mark.parametrize(("seconds", "life"), [(1, 60), (60, 60), (300, 300), (14400, 14400), (604800, 14400)])
def test_link_lives_as_long_as_dropbox_has_it(fake, storage, seconds, life):
    before = time.time()
    storage.presign_upload("a.png", "link", UploadTerms(3, "image/png", seconds))
    (found,) = fake.upload_links.values()
    assert before + life <= found.ends <= time.time() + life


@pytest.mark.threat("T-22")
def test_link_ends(fake, link, context):
    (found,) = fake.upload_links.values()
    found.ends = time.time() - 1
    assert send(link, b"abc", context=context).status == 410
    assert contents(fake) == {}


# What becomes of the request, and the answer.
TAMPERED: dict[str, tuple[Any, int]] = {
    "another link": (lambda r: {"url": r.url[:-8] + "00000000"}, 404),
    "another type": (lambda r: {"headers": {"Content-Type": "text/html"}}, 400),
    "another method": (lambda r: {"method": "GET"}, 404),
    "another route": (lambda r: {"url": r.url.partition("/apitul/")[0] + "/2/files/upload"}, 401),
}


@pytest.mark.threat("T-22")
@pytest.mark.parametrize(("change", "status"), TAMPERED.values(), ids=TAMPERED)
def test_changed_request_is_refused(fake, link, context, change, status):
    assert send(link, b"abc", **change(link), context=context).status == status
    assert contents(fake) == {}
    assert send(link, b"abc", context=context).status == 200  # it was the change


@pytest.mark.threat("T-23")
def test_sender_does_not_choose_the_path(fake, link, context):
    elsewhere = {"Dropbox-API-Arg": json.dumps({"path": "/b.png", "mode": "overwrite"})}
    assert send(link, b"abc", headers=elsewhere, context=context).status == 200
    assert contents(fake) == {"/dir/a.png": b"abc"}


@pytest.mark.threat("T-25")
@pytest.mark.parametrize("body", [b"", b"ab", b"abcd", b"abc" * 100])
def test_what_dropbox_does_not_look_at_shows_in_stat(storage, link, context, body):
    assert send(link, body, context=context).status == 200
    assert storage.stat("dir/a.png").size == len(body) != TERMS.size


@pytest.mark.threat("T-35")
def test_hash_of_the_answer_is_that_of_the_bytes_that_arrived(fake, link, context):
    answer = json.loads(send(link, b"abX", context=context).body)
    assert answer["content-hash"] not in (content_hash(b"abc"), None)
    assert answer["content-hash"] == fake.nodes["/dir/a.png"].shown()["content_hash"]


@pytest.mark.threat("T-25")
def test_what_is_too_large_for_a_link_asks_for_none(fake, storage):
    with pytest.raises(ValueError, match=str(LARGEST_UPLOAD)):
        storage.presign_upload("a.png", "link", UploadTerms(LARGEST_UPLOAD + 1, "image/png", 300))
    assert fake.requests == []


@pytest.mark.threat("T-33")
def test_link_holds_no_token(fake):
    tokens = {"oauth2_refresh_token": REFRESH_TOKEN, "app_key": APP_KEY, "app_secret": APP_SECRET}
    for options in ({}, {**tokens, "oauth2_access_token": None}):
        said = repr(made(fake, **options).presign_upload("a.png", "link", TERMS).__dict__)
        assert [one for one in (*fake.tokens, REFRESH_TOKEN, APP_KEY, APP_SECRET) if one in said] == []


def test_link_is_not_in_a_repr(link):
    assert link.url not in repr(link)


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (Refusal(401, {".tag": "invalid_access_token"}), PermissionError),
        (Refusal(401, {".tag": "missing_scope", "required_scope": "files.content.write"}), PermissionError),
    ],
)
def test_refused_link_says_what_it_means(fake, storage, refusal, error):
    fake.refuse("files/get_temporary_upload_link", refusal)
    with pytest.raises(error):
        storage.presign_upload("a.png", "link", TERMS)


def test_busy_service_is_asked_again(fake, storage, monkeypatch):
    monkeypatch.setattr("storages.backends.dropbox.time.sleep", lambda seconds: None)
    fake.refuse("files/get_temporary_upload_link", Refusal(429, {"reason": {".tag": "too_many_requests"}}))
    assert storage.presign_upload("a.png", "link", TERMS).method == "POST"
