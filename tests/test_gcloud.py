"""GoogleCloudStorage: its options, its requests on the wire, and what it makes of Google's answers."""

from __future__ import annotations

import base64
import datetime
import gzip
import json
import logging
import pickle
import re
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from google.api_core import exceptions
from google.api_core.retry import retry_unary
from google.auth.credentials import AnonymousCredentials
from google.oauth2 import service_account

from storages.backends import gcloud
from storages.backends.gcloud import CHUNK_UNIT, GoogleCloudStorage
from storages.contract import DeleteError
from tests.conftest import running
from tests.servers.gcs import FakeGCS
from tests.servers.google import Answer, Google, Request, Scripted, Sessions, private_pem, refusal
from tests.servers.process import HOST, free_ports
from tests.servers.proxy import Proxy

MIB = 1024**2
FIELDS = ("cache_control", "content_disposition", "content_language", "content_type", "metadata")


@pytest.fixture(scope="module")
def server(pytestconfig):
    """fake-gcs-server behind ``server.wire``."""
    (port,) = free_ports(1)
    with Proxy(HOST, port) as wire:
        server = FakeGCS(reached_at=wire.url)
        server.port = port
        server.wire = wire
        yield from running(server, pytestconfig)


@pytest.fixture(scope="module")
def google():
    with Google() as google:
        yield google


@pytest.fixture
def wire(server):
    yield server.wire
    server.wire.heal()


@pytest.fixture
def make(server, wire, google):
    """Make storages of one new bucket."""
    bucket = server.make_bucket()

    def make(**options):
        given = {"bucket_name": bucket, "credentials": google.key(), "client_options": {"api_endpoint": wire.url}}
        return GoogleCloudStorage(**{**given, **options})

    return make


@pytest.fixture
def storage(make):
    return make()


def save(storage, name: str, content: bytes = b"content") -> str:
    return storage.save(name, ContentFile(content))


def read(storage, name: str) -> bytes:
    with storage.open(name) as file:
        return file.read()


# Options


@pytest.mark.parametrize(
    "form",
    [
        lambda key, path: key,
        lambda key, path: str(path),
        lambda key, path: path,
        lambda key, path: service_account.Credentials.from_service_account_info(key),
    ],
    ids=["dict", "str", "Path", "object"],
)
def test_credentials_may_be_given_as(make, google, tmp_path, form):
    path = tmp_path / "key.json"
    path.write_text(json.dumps(google.key()))
    storage = make(credentials=form(google.key(), path))
    save(storage, "a.txt")
    assert read(pickle.loads(pickle.dumps(storage)), "a.txt") == b"content"
    assert storage.url("a.txt").partition("X-Goog-Credential=storage%40test-project")[1]


@pytest.mark.parametrize("content", [None, "no JSON -----BEGIN PRIVATE KEY-----"], ids=["missing", "broken"])
def test_bad_file_of_credentials_names_the_setting(make, tmp_path, content):
    path = tmp_path / "key.json"
    if content:
        path.write_text(content)
    with pytest.raises(
        ImproperlyConfigured, match=r"'credentials' \(Django setting GS_CREDENTIALS\).*key\.json"
    ) as caught:
        make(credentials=str(path)).exists("a.txt")
    assert "PRIVATE" not in str(caught.value)


def test_absent_credentials_say_what_to_set(make, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(ImproperlyConfigured, match="GS_CREDENTIALS"):
        make(credentials=None).exists("a.txt")


def test_refused_credentials_are_a_permission_error(make, google):
    with pytest.raises(PermissionError, match=r"invalid_grant.*renew .*GS_CREDENTIALS") as caught:
        make(credentials=google.refused_key()).size("a.txt")
    assert private_pem() not in str(caught.value)


def test_emulator_is_found_in_the_environment(make, wire, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", wire.url)
    storage = make(credentials=None, client_options=None)
    save(storage, "a.txt")
    assert read(storage, "a.txt") == b"content"


def test_absent_sdk_is_told_at_construction(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.cloud.storage", None)
    with pytest.raises(ImproperlyConfigured, match=re.escape("pip install 'django-storages-ng[google]'")):
        GoogleCloudStorage()


def test_storage_without_a_bucket_says_what_to_set(make):
    with pytest.raises(ImproperlyConfigured, match=r"'bucket_name' \(Django setting GS_BUCKET_NAME\)"):
        make(bucket_name=None).exists("a.txt")


@pytest.mark.parametrize("size", [CHUNK_UNIT + 1, MIB - 1])
def test_chunks_are_multiples_of_256_kib(size):
    with pytest.raises(ImproperlyConfigured, match="multiple of 262144"):
        GoogleCloudStorage(blob_chunk_size=size)


def test_client_is_shared_by_storages_of_one_configuration(make):
    assert make().client is make(location="elsewhere").client
    assert make().client is not make(project_id="other").client


def test_client_can_be_patched_and_assigned(make, monkeypatch):
    made = []
    monkeypatch.setattr(gcloud, "Client", lambda **arguments: made.append(arguments) or Anything())
    storage = make(project_id="p", credentials=AnonymousCredentials())
    assert isinstance(storage.client, Anything)
    assert [arguments["project"] for arguments in made] == ["p"]
    storage._client = assigned = Anything()
    assert storage.client is assigned


class Anything:
    """What a project's own tests put in place of the client."""

    def __getattr__(self, attribute):
        return Anything()


def test_cache_control_of_old_settings_is_an_object_parameter(settings):
    settings.GS_CACHE_CONTROL = "max-age=60"
    with pytest.warns(DeprecationWarning, match="GS_CACHE_CONTROL is deprecated; use option 'object_parameters'"):
        storage = GoogleCloudStorage()
    assert storage.get_object_parameters("a.txt") == {"cache_control": "max-age=60"}
    with pytest.warns(DeprecationWarning, match="option 'cache_control' is deprecated"):
        storage = GoogleCloudStorage(cache_control="no-store", object_parameters={"storage_class": "NEARLINE"})
    assert storage.get_object_parameters("a.txt") == {"cache_control": "no-store", "storage_class": "NEARLINE"}


def test_cache_control_of_old_settings_joins_object_parameters(settings):
    settings.GS_CACHE_CONTROL = "max-age=60"
    settings.GS_OBJECT_PARAMETERS = {"storage_class": "NEARLINE"}
    with pytest.warns(DeprecationWarning, match="GS_CACHE_CONTROL"):
        storage = GoogleCloudStorage()
    assert storage.get_object_parameters("a.txt") == {"cache_control": "max-age=60", "storage_class": "NEARLINE"}


# Requests


def open_and_write(storage, size: int) -> None:
    with storage.open("new.bin", "wb") as file:
        file.write(bytes(size))


REQUESTS = {
    "save": (lambda storage: save(storage, "new.txt"), ["POST"]),
    "save again": (lambda storage: save(storage, "a.txt"), ["POST"]),
    "save 8 MiB": (lambda storage: save(storage, "new.txt", bytes(8 * MIB)), ["POST"]),
    "save 20 MiB": (lambda storage: save(storage, "new.txt", bytes(20 * MIB)), ["POST", "PUT", "PUT", "PUT"]),
    "open for writing": (lambda storage: open_and_write(storage, 3), ["POST"]),
    "open and read": (lambda storage: read(storage, "a.txt"), ["GET"]),
    "exists": (lambda storage: storage.exists("a.txt"), ["GET"]),
    "exists not": (lambda storage: storage.exists("missing.txt"), ["GET"]),
    "size": (lambda storage: storage.size("a.txt"), ["GET"]),
    "get_modified_time": (lambda storage: storage.get_modified_time("a.txt"), ["GET"]),
    "get_created_time": (lambda storage: storage.get_created_time("a.txt"), ["GET"]),
    "listdir": (lambda storage: storage.listdir(""), ["GET"]),
    "walk": (lambda storage: list(storage.walk()), ["GET"]),
    "delete": (lambda storage: storage.delete("a.txt"), ["DELETE"]),
    "delete_many": (lambda storage: storage.delete_many([f"{n}.txt" for n in range(250)]), ["POST"] * 3),
    "copy": (lambda storage: storage.copy("a.txt", "b.txt"), ["POST"]),
    "move": (lambda storage: storage.move("a.txt", "b.txt"), ["POST", "DELETE"]),
    "url": (lambda storage: storage.url("a.txt"), []),
}


@pytest.mark.parametrize(("verb", "methods"), REQUESTS.values(), ids=REQUESTS)
def test_requests_of(storage, wire, verb, methods):
    save(storage, "a.txt")
    with wire.counting() as seen:
        verb(storage)
    assert seen.methods == methods


def test_name_that_is_free_costs_one_request_and_one_that_is_taken_two(make, wire):
    storage = make(file_overwrite=False)
    with wire.counting() as seen:
        save(storage, "a.txt", b"first")
    assert [parse_qs(urlsplit(one.path).query)["ifGenerationMatch"] for one in seen] == [["0"]]
    with wire.counting() as seen:
        name = save(storage, "a.txt", b"second")
    assert (seen.methods, [one.status for one in seen]) == (["POST", "POST"], [412, 200])
    assert (read(storage, "a.txt"), read(storage, name)) == (b"first", b"second")


def test_compressed_save_is_one_request(make, wire):
    storage = make(gzip=True)
    with wire.counting() as seen:
        save(storage, "a.css", b"body {}" * 1000)
    assert seen.methods == ["POST"]
    assert gzip.decompress(
        storage.client.bucket(storage.bucket_name).blob("a.css").download_as_bytes(raw_download=True)
    )


def test_beginning_of_a_large_object_is_one_short_request(storage, wire):
    save(storage, "a.bin", bytes(20 * MIB))
    with wire.counting() as seen:
        with storage.open("a.bin") as file:
            assert file.read(1024) == bytes(1024)
    assert seen.methods == ["GET"]
    assert seen.downloaded <= 256 * 1024


def test_token_is_asked_for_once(make, google):
    storage = make(credentials=google.key(private_key_id="another"))
    before = len(google.requests)
    for number in range(3):
        save(storage, f"{number}.txt")
    assert [request.path for request in google.requests[before:]] == ["/token"]


# What is written


WRITES: dict[str, Callable] = {
    "save": lambda storage: save(storage, "a.css"),
    "long save": lambda storage: save(storage, "a.css", bytes(9 * MIB)),
    "writer": lambda storage: storage.open("a.css", "wb").close(),
    "exclusive writer": lambda storage: storage.open("a.css", "xb").close(),
    "appender": lambda storage: storage.open("a.css", "ab").close(),
    "copy": lambda storage: (save(storage, "b.css"), storage.copy("b.css", "a.css")),
}


def long_writer(storage) -> None:
    with storage.open("a.css", "wb") as file:
        file.write(bytes(9 * MIB))


@pytest.mark.parametrize("write", [*WRITES.values(), long_writer], ids=[*WRITES, "long writer"])
def test_object_parameters_are_set_by(make, write):
    parameters = {
        "cache_control": "max-age=60",
        "content_disposition": "attachment",
        "content_language": "de",
        "metadata": {"colour": "blue"},
    }
    storage = make(object_parameters=parameters)
    write(storage)
    blob = storage.bucket.get_blob("a.css")
    assert {name: getattr(blob, name) for name in FIELDS} == {**parameters, "content_type": "text/css"}


@pytest.mark.parametrize("write", [WRITES["save"], long_writer], ids=["save", "long writer"])
def test_acl_is_sent_with(make, wire, write):
    storage = make(default_acl="public-read")
    with wire.counting() as seen:
        write(storage)
    assert parse_qs(urlsplit(seen[0].path).query)["predefinedAcl"] == ["publicRead"]


def test_acl_follows_a_copy(make, wire):
    storage = make(object_parameters={"acl": "publicRead"})
    save(storage, "a.txt")
    with wire.counting() as seen:
        storage.copy("a.txt", "b.txt")
    assert seen.methods == ["POST", "PATCH"]
    assert "predefinedAcl=publicRead" in seen[1].path


def test_copy_keeps_what_the_parameters_leave_open(make):
    save(make(object_parameters={"content_language": "de", "metadata": {"a": "b"}}), "a.txt")
    plain, cached = make(), make(object_parameters={"cache_control": "no-store"})
    plain.copy("a.txt", "b.txt")
    cached.copy("a.txt", "c.txt")
    kept = [plain.bucket.get_blob(name) for name in ("b.txt", "c.txt")]
    assert [(blob.content_language, blob.metadata, blob.cache_control) for blob in kept] == [
        ("de", {"a": "b"}, None),
        ("de", {"a": "b"}, "no-store"),
    ]


def test_unknown_object_parameter_is_named(make):
    with pytest.raises(
        ImproperlyConfigured, match="no object parameter 'cache_controll'; did you mean 'cache_control'"
    ):
        save(make(object_parameters={"cache_controll": "no-store"}), "a.txt")


def test_parameters_may_depend_on_key_and_content(make):
    def parameters(key, content):
        return {"metadata": {"key": key, "size": str(content and content.size)}}

    storage = make(object_parameters=parameters, location="site")
    save(storage, "a.txt")
    assert storage.bucket.get_blob("site/a.txt").metadata == {"key": "site/a.txt", "size": "7"}


def test_file_gives_the_blob_of_the_sdk(storage):
    save(storage, "a.txt")
    with storage.open("a.txt") as file:
        assert file.blob.exists()


def test_created_time_is_that_of_the_object(storage):
    save(storage, "a.txt")
    assert datetime.datetime.now(datetime.timezone.utc) - storage.get_created_time("a.txt") < datetime.timedelta(
        minutes=5
    )


def test_placeholders_of_consoles_are_no_files(storage):
    storage.bucket.blob("dir/").upload_from_string(b"")
    save(storage, "dir/a.txt")
    assert storage.listdir("dir") == ([], ["a.txt"])
    assert [entry.name for entry in storage.walk()] == ["dir/a.txt"]


# A service that answers as the test says


@pytest.fixture
def scripted():
    """Make a storage whose service is a script."""
    servers = []

    def make(script: Callable[[Request], Answer], **options):
        server = Scripted(script)
        servers.append(server)
        server.__enter__()
        given = {
            "bucket_name": "bkt",
            "credentials": AnonymousCredentials(),
            "client_options": {"api_endpoint": server.url},
            "retry_deadline": 0,
        }
        return GoogleCloudStorage(**{**given, **options}), server

    yield make
    for server in servers:
        server.__exit__()


@pytest.fixture
def no_pauses(monkeypatch):
    """Try again at once."""
    monkeypatch.setattr(retry_unary, "time", SimpleNamespace(sleep=lambda _: None, monotonic=time.monotonic))


@pytest.mark.parametrize("write", [WRITES["save"], WRITES["long save"]], ids=["save", "long save"])
def test_storage_class_is_sent_with(scripted, write):
    # fake-gcs-server does not keep it in every case.
    storage, server = scripted(Sessions(), object_parameters={"storage_class": "NEARLINE"})
    write(storage)
    assert b'"storageClass": "NEARLINE"' in server.requests[0].body


VERBS: dict[str, Callable] = {
    "open": lambda storage: storage.open("a.txt"),
    "size": lambda storage: storage.size("a.txt"),
    "listdir": lambda storage: storage.listdir(""),
    "save": lambda storage: save(storage, "a.txt"),
    "long save": lambda storage: save(storage, "a.txt", bytes(9 * MIB)),
    "delete": lambda storage: storage.delete("a.txt"),
    "copy": lambda storage: storage.copy("a.txt", "b.txt"),
    "delete_many": lambda storage: storage.delete_many(["a.txt"]),
}
NO_BUCKET = "The specified bucket does not exist."


@pytest.mark.parametrize(
    ("verb", "permission"),
    [
        ("open", "storage.objects.get"),
        ("size", "storage.objects.get"),
        ("listdir", "storage.objects.list"),
        ("save", "storage.objects.create"),
        ("long save", "storage.objects.create"),
        ("delete", "storage.objects.delete"),
        ("copy", "storage.objects.get for the source"),
    ],
)
def test_refusal_names_the_permission(scripted, verb, permission):
    storage, _ = scripted(lambda request: refusal(403, "no"))
    with pytest.raises(PermissionError, match=re.escape(permission)) as caught:
        VERBS[verb](storage)
    assert isinstance(caught.value, exceptions.Forbidden)


def test_unknown_token_asks_for_other_credentials(scripted):
    storage, _ = scripted(lambda request: refusal(401, "Invalid Credentials"))
    with pytest.raises(PermissionError, match=r"renew .*GS_CREDENTIALS"):
        storage.size("a.txt")


@pytest.mark.parametrize("verb", ["open", "size", "delete", "copy"])
def test_missing_object_is_told_from_a_missing_bucket(scripted, verb):
    storage, _ = scripted(lambda request: refusal(404, NO_BUCKET))
    with pytest.raises(ImproperlyConfigured, match=r"'bkt' does not exist: .*GS_BUCKET_NAME"):
        VERBS[verb](storage)


@pytest.mark.parametrize("verb", ["listdir", "save", "long save"])
def test_only_a_bucket_can_be_missing_where_objects_are_listed_or_made(scripted, verb):
    storage, _ = scripted(lambda request: refusal(404))
    with pytest.raises(ImproperlyConfigured, match=r"'bkt' does not exist"):
        VERBS[verb](storage)


@pytest.mark.parametrize("name", ["a.txt", "o", "b/o"])
def test_missing_object_is_both_errors(storage, name):
    with pytest.raises(FileNotFoundError, match=f"no such object in the bucket '{storage.bucket_name}'") as caught:
        storage.open(name)
    assert isinstance(caught.value, exceptions.NotFound)


def test_exists_does_without_the_permission_to_list(scripted):
    def script(request):
        if urlsplit(request.path).path.endswith("/o"):
            return refusal(403)
        return Answer(200, {"size": "1", "generation": "1"}) if "a.txt" in request.path else refusal(404)

    storage, server = scripted(script)
    assert storage.exists("a.txt")
    assert not storage.exists("missing.txt")
    # That listing is denied need be learnt only once.
    assert len(server.requests) == 3


def test_exists_of_a_missing_bucket_is_an_error(scripted):
    storage, _ = scripted(lambda request: refusal(404, NO_BUCKET))
    with pytest.raises(ImproperlyConfigured):
        storage.exists("a.txt")


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("verb", ["open", "size", "listdir", "save", "delete"])
def test_busy_service_is_asked_again(scripted, verb, status):
    answers = {"GET": Answer(200, {"size": "1"}, {"X-Goog-Generation": "1"})}
    storage, server = scripted(
        lambda request: refusal(status) if len(server.requests) == 1 else answers.get(request.method, Answer(200, {})),
        retry_deadline=20,
    )
    VERBS[verb](storage)
    assert len(server.requests) == 2


def test_busy_service_is_not_asked_for_ever(scripted):
    storage, server = scripted(lambda request: refusal(503, "busy"))
    with pytest.raises(exceptions.GoogleAPIError, match="busy"):
        storage.size("a.txt")
    assert len(server.requests) == 1


def test_batch_that_fails_in_parts_tries_those_again_alone(scripted):
    statuses = {"done.txt": 204, "missing.txt": 404, "refused.txt": 403, "busy.txt": 503, "lost.txt": None}

    def script(request):
        if request.method == "DELETE":
            return Answer(204)
        keys = re.findall(rb"Content-ID: <(\d+)>\r\n\r\nDELETE \S+/o/(\S+) ", request.body)
        parts = [
            f"--b\r\nContent-Type: application/http\r\nContent-ID: <response-{number.decode()}>\r\n\r\n"
            f"HTTP/1.1 {statuses[key.decode()]} X\r\nContent-Length: 4\r\n\r\nsaid\r\n"
            for number, key in reversed(keys)  # in whichever order
            if statuses[key.decode()]
        ]
        body = "".join([*parts, "--b--\r\n"]).encode()
        return Answer(200, body, {"Content-Type": "multipart/mixed; boundary=b"})

    storage, server = scripted(script)
    with pytest.raises(DeleteError) as caught:
        storage.delete_many(statuses)
    assert {name: type(error).__name__ for name, error in caught.value.errors.items()} == {
        "refused.txt": "PermissionError"
    }
    alone = [unquote(request.path).partition("/o/")[2].partition("?")[0] for request in server.requests[1:]]
    assert sorted(alone) == ["busy.txt", "lost.txt"]


def test_changed_object_is_noticed_by_its_reader(make):
    storage = make()
    save(storage, "a.bin", bytes(3 * MIB))
    with storage.open("a.bin") as file:
        file.read(1)
        save(storage, "a.bin", b"x" * 3 * MIB)
        file.seek(2 * MIB)
        with pytest.raises(OSError, match="Another writer changed the object"):
            file.read(1)


# Resumable uploads, by a service that loses something

CONTENT = b"".join(number.to_bytes(4, "big") for number in range(700_000))  # 2.8 MB: three chunks of 1 MiB


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("fault", ["keep_half", "lose_answer", "lose_chunk", "lose_half", "be_busy"])
@pytest.mark.parametrize("put", ["put1", "put2", "put3"])
def test_long_write_survives(scripted, put, fault):
    sessions = Sessions(**{put: fault})
    storage, _ = scripted(sessions, blob_chunk_size=MIB, retry_deadline=20)
    save(storage, "a.bin", CONTENT)
    assert sessions.complete
    assert sessions.stored == CONTENT


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("be_gone", "given up this upload"),
        ("know_nothing", "given up this upload"),
        ("forget", "lost the beginning"),
        ("keep_nothing", "takes no more"),
        ("be_done", "closed this upload before its end"),
    ],
)
def test_long_write_that_cannot_go_on_is_an_error_at_once(scripted, fault, message):
    sessions = Sessions(put2=fault)
    storage, _ = scripted(sessions, blob_chunk_size=MIB, retry_deadline=20)
    with pytest.raises(ConnectionError, match=message) as caught:
        save(storage, "a.bin", CONTENT)
    assert not isinstance(caught.value, FileNotFoundError)
    assert len(sessions.puts) == 2
    assert sessions.aborted
    assert not sessions.complete


@pytest.mark.parametrize("checksums", [True, False])
def test_last_chunk_carries_the_checksum_of_all(scripted, checksums):
    sessions = Sessions()
    storage, _ = scripted(sessions, blob_chunk_size=MIB, checksums=checksums)
    save(storage, "a.bin", CONTENT)
    expected = google_crc32c.value(CONTENT).to_bytes(4, "big")
    sent = [put.headers.get("X-Goog-Hash") for put in sessions.puts]
    assert sent == [None, None, f"crc32c={base64.b64encode(expected).decode()}" if checksums else None]
    ranges = [put.headers["Content-Range"] for put in sessions.puts]
    assert ranges == [f"bytes 0-{MIB - 1}/*", f"bytes {MIB}-{2 * MIB - 1}/*", f"bytes {2 * MIB}-2799999/2800000"]


def test_error_in_a_with_block_cancels_the_session(scripted, caplog):
    sessions = Sessions()
    storage, _ = scripted(sessions, blob_chunk_size=MIB)
    with caplog.at_level(logging.WARNING, "storages"), pytest.raises(KeyError), storage.open("a.bin", "wb") as file:
        file.write(CONTENT)
        raise KeyError
    assert sessions.aborted
    assert not sessions.complete
    assert caplog.messages == []


def test_buffer_of_an_odd_size_is_no_matter(scripted):
    sessions = Sessions(put1="keep_half", put3="keep_half")
    storage, _ = scripted(sessions)
    with storage.file_class("a.bin", "wb", storage, buffer_size=700_000) as file:
        file.write(CONTENT)
    assert sessions.stored == CONTENT


def test_url_of_a_session_is_in_no_message(scripted):
    sessions = Sessions(put1="lose_chunk")
    storage, _ = scripted(sessions, blob_chunk_size=MIB)
    with pytest.raises(ConnectionError) as caught:
        save(storage, "a.bin", CONTENT)
    assert "SECRET" not in str(caught.value)
