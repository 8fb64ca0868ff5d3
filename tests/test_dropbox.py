"""What is special about DropboxStorage: tokens, folders, requests, busy times, faults."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.test import override_settings

from storages.backends import dropbox as module
from storages.backends.dropbox import DropBoxStorage, DropboxStorage, DropBoxStorageException, DropboxStorageException
from storages.contract import ObjectChanged
from storages.testing.harness import content_of
from tests.servers.dropbox import APP_KEY, APP_SECRET, REFRESH_TOKEN, RPC, TOKEN, FakeDropbox, Folder, Refusal
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

# The SDK calls it for each request that a refresh token may be needed for.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcnow.. is deprecated:DeprecationWarning")

LARGE = random.Random(0).randbytes(9 * 1024**2)  # three parts
TRIO = {"app_key": APP_KEY, "app_secret": APP_SECRET, "oauth2_refresh_token": REFRESH_TOKEN}
EXPIRED = {".tag": "expired_access_token"}


@pytest.fixture(scope="module")
def server():
    with FakeDropbox() as fake, Proxy(HOST, fake.port, http=False) as wire, fake.reached(wire.port):
        yield fake, wire


@pytest.fixture
def fake(server):
    fake, _ = server
    yield fake
    fake.clear()
    fake.refusals.clear()


@pytest.fixture
def wire(server):
    _, wire = server
    yield wire
    wire.heal()


@pytest.fixture
def options(fake):
    return {"ca_certs": str(fake.certificate), "timeout": 5}


@pytest.fixture
def storage(options):
    return DropboxStorage(TOKEN, **options)


@pytest.fixture
def naps(monkeypatch):
    """The seconds that would have been waited before trying again; nobody waits."""
    naps: list[float] = []
    monkeypatch.setattr("dropbox.dropbox_client.time", SimpleNamespace(sleep=naps.append))
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=naps.append, monotonic=lambda: sum(naps)))
    return naps


# Options


def test_old_names_are_the_same_things():
    assert DropBoxStorage is DropboxStorage
    assert DropBoxStorageException is DropboxStorageException


def test_old_positions_are_kept():
    storage = DropBoxStorage("token", "/folder", 7, "overwrite")
    assert (storage.oauth2_access_token, storage.root_path, storage.timeout) == ("token", "/folder", 7)
    assert storage.file_overwrite


def test_options_without_names_may_be_none_but_not_be_given_twice():
    with override_settings(DROPBOX_ROOT_PATH="/set", DROPBOX_OAUTH2_TOKEN="set"):
        storage = DropboxStorage(None, None, write_mode=None)
    assert (storage.oauth2_access_token, storage.root_path, storage.write_mode) == ("set", "/set", "add")
    with pytest.raises(TypeError, match="'root_path' twice"):
        DropboxStorage("token", "/folder", root_path="/other")
    with pytest.raises(TypeError, match=r"names: oauth2_access_token, root_path, timeout, write_mode$"):
        DropboxStorage("token", "/folder", 7, "overwrite", "more")


def test_migration_holds_no_secret():
    storage = DropboxStorage("token", "/folder")
    assert storage.deconstruct() == ("storages.backends.dropbox.DropboxStorage", (), {"root_path": "/folder"})


@pytest.mark.parametrize(
    ("options", "replaces"),
    [
        ({}, False),
        ({"write_mode": "add"}, False),
        ({"write_mode": "overwrite"}, True),
        ({"write_mode": "update"}, True),
        ({"write_mode": "overwrite", "file_overwrite": False}, False),
    ],
)
def test_write_mode_decides_unless_told_otherwise(options, replaces):
    assert DropboxStorage("token", **options).file_overwrite is replaces


@pytest.mark.parametrize(
    "options", [{}, {"app_key": "a", "app_secret": "b"}, {"oauth2_refresh_token": "c"}, {**TRIO, "app_secret": ""}]
)
def test_token_alone_or_all_three_are_needed(options):
    with pytest.raises(ImproperlyConfigured, match="DROPBOX_OAUTH2_REFRESH_TOKEN"):
        DropboxStorage(**options).exists("a.txt")


def test_incomplete_tokens_are_told_at_once():
    with pytest.raises(ImproperlyConfigured, match="oauth2_refresh_token"):
        DropboxStorage(app_key="key")


@override_settings(DROPBOX_OAUTH2_TOKEN="token", DROPBOX_ROOT_PATH="/django", DROPBOX_TIMEOUT=3)
def test_django_settings_are_read():
    storage = DropboxStorage()
    assert (storage.oauth2_access_token, storage.root_path, storage.timeout) == ("token", "/django", 3)


def test_attribute_location_is_the_old_name_of_the_root():
    class Old(DropboxStorage):
        location = "/old"

    with pytest.warns(DeprecationWarning, match="root_path"):
        assert Old("token").root_path == "/old"


@pytest.mark.parametrize(
    ("root_path", "path"),
    [("/", "/a.txt"), ("", "/a.txt"), ("media", "/media/a.txt"), ("/my/Media/", "/my/Media/a.txt")],
)
def test_root_is_a_folder_in_any_spelling(options, fake, root_path, path):
    storage = DropboxStorage(TOKEN, root_path=root_path, **options)
    storage.save("a.txt", ContentFile(b"x"))
    assert fake.file(path).path == path
    assert storage.listdir("") == ([], ["a.txt"])
    assert [entry.name for entry in storage.walk()] == ["a.txt"]


def test_part_size_of_a_subclass_counts(options, fake):
    class Small(DropboxStorage):
        CHUNK_SIZE = 1024**2

    Small(TOKEN, **options).save("a.bin", ContentFile(LARGE))
    assert fake.requests.count("files/upload_session/append_v2") == 9
    assert fake.file("/a.bin").content == LARGE


# Tokens


def test_refresh_token_gives_access(options, fake):
    storage = DropboxStorage(**TRIO, **{**options, "timeout": 6})  # whose client nobody has used yet
    storage.save("a.txt", ContentFile(b"x"))
    assert content_of(storage, "a.txt") == b"x"
    assert fake.requests.count("oauth2/token") == 1


def test_expired_access_token_is_renewed(options, fake):
    storage = DropboxStorage(**TRIO, **options, root_path="/expired")
    storage.save("a.txt", ContentFile(b"x"))
    fake.expired |= fake.tokens
    assert storage.size("a.txt") == 1


WRONG = [
    ({"oauth2_access_token": "wrong"}, "invalid_access_token"),
    ({**TRIO, "oauth2_refresh_token": "wrong"}, "REFRESH_TOKEN"),
    ({**TRIO, "app_secret": "wrong"}, "invalid_client"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG)
def test_wrong_credentials_are_a_permission_error(options, wrong, said):
    with pytest.raises(PermissionError, match=said) as error:
        DropboxStorage(**wrong, **options).exists("a.txt")
    assert not [secret for secret in (APP_SECRET, REFRESH_TOKEN, APP_KEY) if secret in f"{error.value} {error.value!r}"]


def test_expired_token_alone_is_told_with_the_remedy(storage, fake):
    fake.expired.add(TOKEN)
    with pytest.raises(PermissionError, match="DROPBOX_OAUTH2_REFRESH_TOKEN"):
        storage.listdir("")


def test_missing_scope_is_told(storage, fake):
    error = {".tag": "missing_scope", "required_scope": "files.content.write"}
    fake.refuse("files/upload", Refusal(401, error))
    with pytest.raises(PermissionError, match="give the app the scope"):
        storage.save("a.txt", ContentFile(b"x"))


# Requests

REQUESTS = {
    "save": (lambda storage: storage.save("new.txt", ContentFile(b"x")), ["files/upload"]),
    "save a taken name": (lambda storage: storage.save("a.txt", ContentFile(b"x")), ["files/upload"] * 2),
    "size": (lambda storage: storage.size("a.txt"), ["files/get_metadata"]),
    "exists": (lambda storage: storage.exists("a.txt"), ["files/get_metadata"]),
    "exists not": (lambda storage: storage.exists("missing.txt"), ["files/get_metadata"]),
    "read": (lambda storage: content_of(storage, "a.txt"), ["files/download"]),
    "read a range": (lambda storage: storage.open_range("a.txt", 2, 4).close(), ["files/download"]),
    "list": (lambda storage: storage.listdir(""), ["files/list_folder"]),
    "walk": (lambda storage: list(storage.walk()), ["files/list_folder"]),
    "delete": (lambda storage: storage.delete("a.txt"), ["files/get_metadata", "files/delete_v2"]),
    "copy": (lambda storage: storage.copy("a.txt", "b.txt"), ["files/get_metadata", "files/copy_v2"]),
    "url": (lambda storage: storage.url("a.txt"), ["files/get_temporary_link"]),
}


@pytest.mark.parametrize("verb", REQUESTS)
def test_verb_costs_no_more_requests_than_it_has_to(storage, fake, verb):
    storage.save("a.txt", ContentFile(b"content"))
    fake.requests.clear()
    call, expected = REQUESTS[verb]
    call(storage)
    assert fake.requests == expected


def test_range_is_all_that_is_sent(storage, fake):
    storage.save("a.bin", ContentFile(LARGE))
    fake.sent = 0
    with storage.open_range("a.bin", 5_000_000, 5_001_000) as body:
        assert body.read() == LARGE[5_000_000:5_001_000]
    assert fake.sent == 1_000


# Folders


def test_delete_of_a_folder_deletes_nothing(storage):
    storage.save("folder/a.txt", ContentFile(b"x"))
    storage.delete("folder")
    storage.delete_many(["folder"])
    assert content_of(storage, "folder/a.txt") == b"x"


def test_copy_of_a_folder_is_refused(storage, fake):
    storage.save("folder/a.txt", ContentFile(b"x"))
    with pytest.raises(FileNotFoundError):
        storage.copy("folder", "other")
    assert "files/copy_v2" not in fake.requests


def test_empty_folder_is_no_file_and_does_not_exist(storage, fake):
    fake.nodes["/empty"] = Folder("/empty")
    assert not storage.exists("empty")
    with pytest.raises(FileNotFoundError):
        storage.open("empty")


def test_listing_has_names_as_they_were_written(storage):
    storage.save("Some/Where/A b.TXT", ContentFile(b"x"))
    assert storage.listdir("some/where") == ([], ["A b.TXT"])


# Revisions


def test_same_content_does_not_pass_for_a_free_name(storage):
    names = [storage.save("a.txt", ContentFile(b"same")) for _ in range(2)]
    assert len(set(names)) == 2


def test_file_that_changed_while_it_was_edited_is_kept(storage):
    storage.save("a.txt", ContentFile(b"first"))
    with pytest.raises(ObjectChanged):
        with storage.open("a.txt", "r+b") as file:
            file.write(b"mine!")
            with storage.open("a.txt", "wb") as other:
                other.write(b"theirs")
    assert content_of(storage, "a.txt") == b"theirs"


def test_file_that_changed_while_it_was_read_is_told(storage):
    storage.save("a.bin", ContentFile(LARGE))
    with storage.open("a.bin") as file:
        assert file.read(10) == LARGE[:10]
        with storage.open("a.bin", "wb") as other:
            other.write(LARGE[::-1])
        file.seek(6_000_000)
        with pytest.raises(ObjectChanged):
            file.read(10)


@pytest.mark.parametrize(
    ("route", "delete", "single_deletes"),
    [
        ("files/delete_v2", lambda storage: storage.delete("1.txt"), 2),
        ("files/delete_batch", lambda storage: storage.delete_many(["0.txt", "1.txt"]), 1),
    ],
)
def test_delete_follows_a_file_that_changes(storage, fake, monkeypatch, route, delete, single_deletes):
    for name in ("0.txt", "1.txt"):
        storage.save(name, ContentFile(b"x"))
    answer = RPC[route]

    def answer_after_a_change(fake, argument):
        monkeypatch.setitem(RPC, route, answer)
        fake.file("/1.txt").rev = "0ffffffff"
        return answer(fake, argument)

    monkeypatch.setitem(RPC, route, answer_after_a_change)
    delete(storage)
    assert not storage.exists("1.txt")
    assert fake.requests.count("files/delete_v2") == single_deletes


def test_copy_replaces_its_target_at_no_time_by_nothing(storage, fake):
    storage.save("source.bin", ContentFile(LARGE))
    storage.save("target.bin", ContentFile(b"old"))
    storage.copy("source.bin", "target.bin")
    assert content_of(storage, "target.bin") == LARGE
    assert "files/delete_v2" not in fake.requests


# Busy times

TOO_MANY = {"error_summary": "too_many", "error": {"reason": {".tag": "too_many_requests"}, "retry_after": 7}}
BUSY = {".tag": "path", "reason": {".tag": "too_many_write_operations"}, "upload_session_id": "x"}


def test_rate_limit_is_waited_for(storage, fake, naps):
    fake.refuse("files/upload", Refusal(429, TOO_MANY), times=2)
    storage.save("a.txt", ContentFile(b"x"))
    assert naps == [7, 7]


def test_rate_limit_beyond_patience_is_an_error(storage, fake, naps):
    fake.refuse("files/upload", Refusal(429, TOO_MANY), times=100)
    with pytest.raises(Exception, match="RateLimitError"):
        storage.save("a.txt", ContentFile(b"x"))
    assert sum(naps) <= module.PATIENCE


def test_busy_folder_is_tried_again(storage, fake, naps):
    fake.refuse("files/upload", Refusal(409, BUSY), times=2)
    storage.save("a.txt", ContentFile(b"x"))
    assert naps == [1, 2]


def test_failing_service_is_tried_again(storage, fake, naps):
    fake.refuse("files/upload", Refusal(500, "sorry"), times=2)
    storage.save("a.txt", ContentFile(b"x"))
    assert len(naps) == 2


def test_failed_service_is_an_error_and_not_an_absence(storage, fake, naps):
    fake.refuse("files/get_metadata", Refusal(503, "sorry"), times=4)
    with pytest.raises(Exception, match="503") as error:
        storage.exists("a.txt")
    assert not isinstance(error.value, FileNotFoundError)


REFUSALS = [
    ("insufficient_space", OSError, "full"),
    ("no_write_permission", PermissionError, "may not do this"),
    ("disallowed_name", ValueError, "no such name"),
]


@pytest.mark.parametrize(("reason", "kind", "said"), REFUSALS)
def test_refused_upload_says_why(storage, fake, reason, kind, said):
    refusal = Refusal(409, {".tag": "path", "reason": {".tag": reason}, "upload_session_id": "x"})
    fake.refuse("files/upload", refusal)
    with pytest.raises((kind, module.SuspiciousFileOperation), match=said):
        storage.save("a.txt", ContentFile(b"x"))


# Faults

STALLED = {
    "size": lambda storage: storage.size("a.txt"),
    "read": lambda storage: storage.open("a.txt").read(),
    "save": lambda storage: storage.save("b.txt", ContentFile(b"x")),
    "save a large file": lambda storage: storage.save("b.bin", ContentFile(LARGE)),
    "list": lambda storage: storage.listdir(""),
    "delete": lambda storage: storage.delete("a.txt"),
    "url": lambda storage: storage.url("a.txt"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("verb", STALLED)
def test_stalled_server_is_an_error_and_the_next_call_works(options, wire, verb):
    storage = DropboxStorage(TOKEN, **{**options, "timeout": 1})
    storage.save("a.txt", ContentFile(b"content"))
    wire.mute()
    with pytest.raises((TimeoutError, ConnectionError)):
        STALLED[verb](storage)
    wire.heal()
    assert content_of(storage, "a.txt") == b"content"


def test_broken_download_is_asked_for_again(storage, wire):
    storage.save("large.bin", ContentFile(LARGE))
    with storage.open("large.bin") as file:
        wire.reset(down=2 * 1024**2)
        assert file.read() == LARGE


def test_broken_upload_leaves_the_old_file(storage, wire):
    storage.save("large.bin", ContentFile(b"old"))
    wire.reset(up=5 * 1024**2)
    with pytest.raises(ConnectionError), storage.open("large.bin", "wb") as file:
        file.write(LARGE)
    wire.heal()
    assert content_of(storage, "large.bin") == b"old"


def test_certificate_that_nobody_vouches_for_is_refused(fake):
    with pytest.raises(ConnectionError, match="certificate verify failed"):
        DropboxStorage(TOKEN).exists("a.txt")
    assert fake.requests == []


# Content hashes


@pytest.mark.parametrize("size", [0, 1, 4 * 1024**2, 4 * 1024**2 + 1, len(LARGE)])
def test_content_hash_is_that_of_dropbox(storage, fake, size):
    storage.save("a.bin", ContentFile(LARGE[:size]))
    assert fake.file("/a.bin").shown()["content_hash"] == module.content_hash(LARGE[:size])


@pytest.mark.parametrize("content", [b"INTACT", b"INTACT" * 1_000_000], ids=["small", "large"])
def test_damaged_upload_is_an_error(storage, monkeypatch, content):
    session = storage.client._session
    post = session.post

    def damage(url, data=None, **options):
        return post(url, data=data.replace(b"INTACT", b"BROKEN") if isinstance(data, bytes) else data, **options)

    monkeypatch.setattr(session, "post", damage)
    with pytest.raises(ConnectionError):
        storage.save("a.bin", ContentFile(content))
