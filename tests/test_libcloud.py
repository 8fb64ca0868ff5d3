"""What is special about LibCloudStorage: providers, drivers made careful, what goes over the wire, faults, URLs."""

from __future__ import annotations

import contextlib
import gc
import json
import random
import tempfile
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from operator import attrgetter
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files import File
from django.core.files.base import ContentFile
from django.test import override_settings

from storages.backends.apache_libcloud import LibCloudStorage
from storages.backends.libcloud_drivers import MOST_IDLE, Drivers
from storages.testing.sources import BrokenPipe, SourceError
from tests.servers.dropbox import FakeDropbox
from tests.servers.process import HOST

# Libcloud calls it for each request.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcnow.. is deprecated:DeprecationWarning")

MIB = 1024**2
LARGE = random.Random(0).randbytes(12 * MIB)

PROVIDERS = {
    "default": {"type": "S3", "user": "AKID", "key": "SECRET", "bucket": "first"},
    "archive": {"type": "MINIO", "user": "AKID", "key": "SECRET", "bucket": "second", "host": "minio.example.com"},
    "odd": {"type": "S3", "user": "AKID", "key": "SECRET", "bucket": "third", "token": "TOKEN"},
}


# Options


@pytest.mark.parametrize(
    ("arguments", "options", "bucket"),
    [
        ((), {}, "first"),
        (("archive",), {}, "second"),
        (("archive", "ignored"), {}, "second"),
        ((), {"provider_name": "archive"}, "second"),
        (("archive",), {"bucket": "given"}, "given"),
    ],
)
@override_settings(LIBCLOUD_PROVIDERS=PROVIDERS)
def test_provider_is_found_by_its_name(arguments, options, bucket):
    assert LibCloudStorage(*arguments, **options).bucket == bucket


@override_settings(LIBCLOUD_PROVIDERS=PROVIDERS, DEFAULT_LIBCLOUD_PROVIDER="archive")
def test_default_provider_is_a_setting():
    storage = LibCloudStorage()
    assert storage.provider == PROVIDERS["archive"]
    assert storage.driver.connection.host == "minio.example.com"


@override_settings(LIBCLOUD_PROVIDERS=PROVIDERS)
def test_what_no_option_knows_goes_to_the_driver():
    storage = LibCloudStorage("odd")
    assert storage.driver.token == "TOKEN"
    assert PROVIDERS["odd"]["token"] == "TOKEN"


@override_settings(LIBCLOUD_PROVIDERS=PROVIDERS)
def test_unknown_provider_is_told_with_the_nearest():
    with pytest.raises(ImproperlyConfigured, match="did you mean 'archive'"):
        LibCloudStorage("archiv")


@pytest.mark.parametrize(
    "provider", ["LOCAL", "local", "libcloud.storage.types.Provider.LOCAL", "Provider.LOCAL"], ids=str
)
def test_type_is_a_constant_in_any_spelling(provider, tmp_path):
    (tmp_path / "media").mkdir()
    storage = LibCloudStorage(type=provider, user=str(tmp_path), bucket="media")
    storage.save("a.txt", ContentFile(b"content"))
    assert (tmp_path / "media" / "a.txt").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("provider", "host"),
    [
        ("S3_US_STANDARD_HOST", "s3.amazonaws.com"),
        ("S3_US_WEST_HOST", "s3-us-west-1.amazonaws.com"),
        ("S3_US_WEST_OREGON_HOST", "s3-us-west-2.amazonaws.com"),
        ("S3_EU_WEST_HOST", "s3-eu-west-1.amazonaws.com"),
        ("S3_AP_SOUTHEAST_HOST", "s3-ap-southeast-1.amazonaws.com"),
        ("S3_AP_NORTHEAST_HOST", "s3-ap-northeast-1.amazonaws.com"),
    ],
)
def test_host_that_older_documentation_gives_for_a_type_is_that_type(provider, host):
    account = {"user": "AKID", "key": "SECRET", "bucket": "media"}
    storage = LibCloudStorage(type=f"libcloud.storage.types.Provider.{provider}", **account)
    assert storage.driver.connection.host == host


@pytest.mark.parametrize(
    ("provider", "advice"),
    [
        ("CLOUDFIULES_US", "'CLOUDFILES' with the 'region'"),
        ("CLOUDFILES_UK", "'region' 'lon'"),
        ("S3_EU_WEST3", "eu-west-3"),
        ("ATMOS", "gave it up"),
        ("NIMBUS", "shut down"),
        ("NINEFOLD", "shut down"),
        ("DUMMY", "store nothing"),
    ],
)
def test_type_that_is_gone_is_told_with_what_became_of_it(provider, advice):
    storage = LibCloudStorage(type=provider, user="AKID", key="SECRET", bucket="media")
    with pytest.raises(ImproperlyConfigured, match=advice):
        storage.exists("a.txt")


@pytest.mark.parametrize(
    ("options", "way"),
    [
        ({"type": "BACKBLAZE_B2"}, "_auth_conn"),
        ({"type": "GOOGLE_STORAGE", "driver_options": {"auth_type": "IA"}}, "oauth2_credential.oauth2_conn"),
    ],
)
def test_connection_that_logs_in_has_the_timeout_too(options, way, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    # What Libcloud keeps of a login, so that it sends none here.
    token = {"access_token": "TOKEN", "expire_time": "2100-01-01T00:00:00Z"}
    (tmp_path / ".google_libcloud_auth.me").write_text(json.dumps(token))
    driver = LibCloudStorage(user="me", key="SECRET", bucket="media", read_timeout=7, **options).driver
    assert attrgetter(way)(driver.connection).timeout == 7


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({}, "LIBCLOUD_PROVIDERS"),
        ({"type": "S3"}, "'bucket'"),
        ({"type": "AZURE_BLOB", "bucket": "media"}, "did you mean 'AZURE_BLOBS'"),
        ({"type": "MINIO", "user": "AKID", "key": "SECRET", "bucket": "media"}, "host argument is required"),
        ({"type": "S3", "user": "AKID", "key": "SECRET", "bucket": "media", "region": "mars-1"}, "mars-1"),
        ({"type": "LOCAL", "user": "/no/such/directory", "bucket": "media"}, "not a directory"),
        ({"type": "LOCAL", "user": tempfile.gettempdir(), "bucket": "no-such-bucket"}, "create the container"),
    ],
)
def test_misconfiguration_is_told_at_the_first_use(options, advice):
    storage = LibCloudStorage(**options)
    with pytest.raises(ImproperlyConfigured, match=advice) as error:
        storage.size("a.txt")
    assert "SECRET" not in str(error.value)


def test_container_is_made_by_the_driver(tmp_path):
    # The recipe of older documentation.
    storage = LibCloudStorage(type="LOCAL", user=str(tmp_path), bucket="media")
    with pytest.raises(ImproperlyConfigured, match="create the container 'media'"):
        storage.exists("a.txt")
    storage.driver.create_container("media")
    assert not storage.exists("a.txt")
    assert storage.save("a.txt", ContentFile(b"x")) == "a.txt"


# On a directory


@pytest.fixture
def container(tmp_path):
    (tmp_path / "media").mkdir()
    return tmp_path / "media"


@pytest.fixture
def local(container):
    return LibCloudStorage(type="LOCAL", user=str(container.parent), bucket="media")


def test_local_listing_looks_below_its_prefix_only(local, container, monkeypatch):
    for name in ("a/b/c.txt", "a/d.txt", "other/e.txt"):
        local.save(name, ContentFile(b"x"))
    driver, looked_at = type(local.driver), []
    make_object = driver._make_object

    def watched(self, container, name):
        looked_at.append(name)
        return make_object(self, container, name)

    monkeypatch.setattr(driver, "_make_object", watched)
    assert local.listdir("a") == (["b"], ["d.txt"])
    assert looked_at == ["a/d.txt", "a/b/c.txt"]


def test_local_upload_does_not_show_before_it_is_whole(local, container):
    class Watched(BrokenPipe):
        def readinto(self, target):
            assert list(local.walk()) == []
            return super().readinto(target)

    with pytest.raises(SourceError):
        LibCloudStorage._save(local, "a.bin", File(Watched(LARGE)))
    assert list(container.iterdir()) == []


def test_local_upload_that_was_killed_is_not_listed(local, container):
    (container / ".storages-upload-x1").write_bytes(b"half")
    assert local.listdir("") == ([], [])
    assert list(local.walk()) == []


def test_local_delete_removes_empty_directories_and_keeps_the_container(local, container):
    local.save("a/b/c.txt", ContentFile(b"x"))
    local.save("a/d.txt", ContentFile(b"x"))
    local.delete("a/b/c.txt")
    assert [path.name for path in (container / "a").iterdir()] == ["d.txt"]
    local.delete("a/d.txt")
    assert list(container.iterdir()) == []


def test_local_file_in_the_place_of_a_directory_is_an_error(local):
    local.save("a", ContentFile(b"x"))
    with pytest.raises(NotADirectoryError):
        local.save("a/b.txt", ContentFile(b"x"))


def test_local_leaves_no_locks(local, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    local.save("a.txt", ContentFile(b"x"))
    local.delete("a.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["media"]


def test_local_range_ends_with_the_file(local):
    local.save("a.txt", ContentFile(b"0123456789"))
    ranges = [(2, 5), (8, 100), (100, 200), (3, None)]
    read = []
    for start, end in ranges:
        with local.open_range("a.txt", start, end) as body:
            read.append(body.read())
    assert read == [b"234", b"89", b"", b"3456789"]


# On the wire: SeaweedFS, which starts fast, but takes the query of a listing by Libcloud for something else


@pytest.fixture
def bucket(seaweedfs):
    return seaweedfs.make_bucket()


@pytest.fixture
def options(seaweedfs, bucket, wire):
    return {
        "type": "MINIO",
        "user": seaweedfs.access_key,
        "key": seaweedfs.secret_key,
        "bucket": bucket,
        "host": HOST,
        "port": wire.port,
        "secure": False,
        "create_only": True,
        "file_overwrite": True,
        "connect_timeout": 1,
        "read_timeout": 1,
    }


@pytest.fixture
def remote(options):
    return LibCloudStorage(**options)


@pytest.fixture
def boto(seaweedfs):
    client = seaweedfs.client()
    yield client
    client.close()


REQUESTS = {
    "save": (lambda storage: storage.save("new.txt", ContentFile(b"x")), ["PUT"]),
    "create a taken name": (lambda storage: taken(storage, "a.txt"), ["PUT", "PUT"]),
    "size": (lambda storage: storage.size("a.txt"), ["HEAD"]),
    "exists": (lambda storage: storage.exists("a.txt"), ["HEAD"]),
    "read": (lambda storage: storage.open("a.txt").close(), ["GET"]),
    "read an empty file": (lambda storage: storage.open("empty.txt").close(), ["GET", "HEAD"]),
    "read a range": (lambda storage: storage.open_range("a.txt", 2, 4).close(), ["GET"]),
    "delete": (lambda storage: storage.delete("a.txt"), ["DELETE"]),
    "url": (lambda storage: storage.url("a.txt"), []),
}


def taken(storage, name):
    storage.file_overwrite = False
    assert storage.save(name, ContentFile(b"x")) != name


@pytest.mark.parametrize("verb", REQUESTS)
def test_verb_costs_no_more_requests_than_it_has_to(remote, wire, verb):
    for name, content in {"a.txt": b"content", "empty.txt": b""}.items():
        remote.save(name, ContentFile(content))
    call, expected = REQUESTS[verb]
    with wire.counting() as seen:
        call(remote)
    assert seen.methods == expected


def test_container_is_asked_for_once_by_all_threads(remote, wire):
    remote.save("a.txt", ContentFile(b"content"))
    with wire.counting() as seen:
        thread = threading.Thread(target=remote.size, args=("a.txt",))
        thread.start()
        thread.join()
    assert seen.methods == ["HEAD"]


def test_each_thread_has_a_driver_of_its_own(remote):
    drivers = [remote.driver, LibCloudStorage(**vars_of(remote)).driver]
    thread = threading.Thread(target=lambda: drivers.append(remote.driver))
    thread.start()
    thread.join()
    assert drivers[0] is drivers[1] is remote.client
    assert drivers[2] is not drivers[0]


def vars_of(storage):
    return storage._constructor_args[1]


def test_threads_one_after_another_use_one_connection(remote, wire):
    def work():
        remote.driver.get_object(remote.bucket, "a.txt")
        with remote.open("a.txt") as file:
            file.read()

    remote.save("a.txt", ContentFile(b"content"))
    with wire.counting() as seen:
        for _ in range(5):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    assert (len(seen), seen.connections) == (10, 0)


@pytest.mark.parametrize(
    ("name", "start", "result"),
    [("missing.txt", 0, pytest.raises(FileNotFoundError)), ("a.txt", 100, contextlib.nullcontext())],
)
def test_refused_download_gives_its_connection_back(remote, wire, name, start, result):
    remote.save("a.txt", ContentFile(b"content"))
    with wire.counting() as seen:
        for _ in range(5):
            with result, remote.open_range(name, start, 200) as body:
                assert body.read() == b""
    assert (seen.methods, seen.connections) == (["GET"] * 5, 0)


def test_connections_of_many_readers_are_used_again(remote, wire):
    remote.save("a.txt", ContentFile(b"content"))
    opened = []
    for _ in range(2):
        with wire.counting() as seen, contextlib.ExitStack() as stack:
            bodies = [stack.enter_context(remote.open_range("a.txt", 0, 7)) for _ in range(20)]
            assert {body.read() for body in bodies} == {b"content"}
        opened.append(seen.connections)
    assert opened == [19, 0]


def test_walk_keeps_its_driver_to_itself(local, monkeypatch):
    local.save("a.txt", ContentFile(b"x"))
    local.save("b.txt", ContentFile(b"x"))
    driver, used = type(local.driver), []
    make_object = driver._make_object

    def watched(self, container, name):
        used.append(self)
        return make_object(self, container, name)

    monkeypatch.setattr(driver, "_make_object", watched)
    for _ in local.walk():
        local.size("a.txt")
    assert used[0] is used[2]
    assert used[1] is used[3]
    assert used[0] is not used[1]


def test_idle_drivers_are_handed_out_first_and_not_all_are_kept():
    class Driver:
        pass

    drivers, made = Drivers(lambda transports: Driver()), weakref.WeakSet()
    with contextlib.ExitStack() as stack:
        for _ in range(2 * MOST_IDLE):
            made.add(stack.enter_context(drivers.one()))
        assert len(made) == 2 * MOST_IDLE
    gc.collect()
    assert len(made) == MOST_IDLE
    with drivers.one() as driver:
        assert driver in made


def test_driver_may_ask_for_a_connection_to_another_host():
    # As that of AZURE_BLOBS does, to log in with Active Directory.
    driver = LibCloudStorage(type="S3", user="AKID", key="SECRET", bucket="media").driver
    connection = driver.connection.conn_class("login.example.com", 443, timeout=5)
    assert connection.session.get_adapter("https://") is driver.connection.connection.session.get_adapter("https://")


def test_idle_connections_that_the_service_has_closed_fail_no_read(remote, wire, monkeypatch):
    # As where it closes them just then.
    monkeypatch.setattr("urllib3.connectionpool.is_connection_dropped", lambda connection: False)
    remote.save("a.txt", ContentFile(b"abc"))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(remote.size, ["a.txt"] * 8)) == [3] * 8
    assert wire.drop_idle() >= 1
    with remote.open("a.txt") as file:
        assert file.read() == b"abc"


def test_empty_file_goes_with_its_length(remote, wire):
    with wire.counting() as seen:
        remote.save("empty.txt", ContentFile(b""))
    assert seen[-1].headers["content-length"] == "0"
    assert "transfer-encoding" not in seen[-1].headers
    assert remote.size("empty.txt") == 0


def test_object_stored_compressed_is_read_as_stored(remote, boto, bucket):
    boto.put_object(Bucket=bucket, Key="a.txt", Body=b"\x1f\x8b not really", ContentEncoding="gzip")
    with remote.open("a.txt") as file:
        assert file.read() == b"\x1f\x8b not really"
        assert file.stat.content_encoding == "gzip"


def test_headers_and_metadata_are_sent(options, boto, bucket):
    parameters = {
        "headers": {"Cache-Control": "max-age=60"},
        "meta_data": {"owner": "me"},
        "content_type": "text/x-own",
    }
    LibCloudStorage(**options, object_parameters=parameters).save("a.txt", ContentFile(b"x"))
    head = boto.head_object(Bucket=bucket, Key="a.txt")
    assert (head["CacheControl"], head["Metadata"], head["ContentType"]) == (
        "max-age=60",
        {"owner": "me"},
        "text/x-own",
    )
    assert parameters["headers"] == {"Cache-Control": "max-age=60"}


def test_amazon_is_known_to_refuse():
    assert LibCloudStorage(type="S3", user="AKID", key="SECRET", bucket="media").capabilities.create_only


# Faults: an error within the timeout, and all is well afterwards


STALLED = {
    "size": lambda storage: storage.size("a.txt"),
    "read": lambda storage: storage.open("a.txt").read(),
    "read a range": lambda storage: storage.open_range("a.txt", 2, 4).read(),
    "save": lambda storage: storage.save("b.txt", ContentFile(b"x")),
    "save a large file": lambda storage: storage.save("b.bin", ContentFile(LARGE)),
    "list": lambda storage: storage.listdir(""),
    "delete": lambda storage: storage.delete("a.txt"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("verb", STALLED)
def test_stalled_server_is_an_error_and_the_next_call_works(remote, wire, verb):
    remote.save("a.txt", ContentFile(b"content"))
    wire.mute()
    with pytest.raises((TimeoutError, ConnectionError)):
        STALLED[verb](remote)
    wire.heal()
    with remote.open("a.txt") as file:
        assert file.read() == b"content"


def test_broken_download_is_asked_for_again(remote, wire, boto, bucket):
    boto.put_object(Bucket=bucket, Key="large.bin", Body=LARGE)
    with remote.open("large.bin") as file:
        wire.reset(down=2 * MIB)
        assert file.read() == LARGE


def test_broken_upload_leaves_nothing(remote, wire, boto, bucket):
    wire.reset(up=2 * MIB)
    with pytest.raises(ConnectionError):
        remote.save("large.bin", ContentFile(LARGE))
    assert "Contents" not in boto.list_objects_v2(Bucket=bucket)


class BadRequests(BaseHTTPRequestHandler):
    """S3's answer to HEAD when a token has expired."""

    def do_HEAD(self):
        self.send_response(200 if self.path == "/media" else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


def test_refusal_without_a_reason_does_not_pass_for_a_missing_object():
    with HTTPServer((HOST, 0), BadRequests) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        options = {"user": "AKID", "key": "SECRET", "host": HOST, "port": server.server_port, "secure": False}
        storage = LibCloudStorage(type="MINIO", bucket="media", **options)
        try:
            with pytest.raises(Exception, match="400") as error:
                storage.exists("a.txt")
        finally:
            server.shutdown()
    assert not isinstance(error.value, FileNotFoundError)


def test_certificate_counts_only_if_libcloud_knows_its_authority(monkeypatch):
    with FakeDropbox() as tls:  # any server with a certificate of its own
        options = {"type": "MINIO", "user": "AKID", "bucket": "media", "host": HOST, "port": tls.port}
        with pytest.raises(ConnectionError, match="certificate verify failed"):
            LibCloudStorage(key="SECRET", **options).exists("a.txt")
        monkeypatch.setattr("libcloud.security.CA_CERTS_PATH", str(tls.certificate))
        with pytest.raises(ConnectionError, match="closed connection without response"):  # it knows no HEAD
            LibCloudStorage(key="ANOTHER", **options).exists("a.txt")


# URLs


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({"type": "MINIO", "host": "minio.example.com"}, "https://minio.example.com/media/dir/a%20b.txt"),
        ({"type": "MINIO", "host": "h", "port": 9000, "secure": False}, "http://h:9000/media/dir/a%20b.txt"),
        ({"type": "GOOGLE_STORAGE"}, "https://storage.googleapis.com/media/dir/a%20b.txt"),
        ({"type": "S3", "base_url": "https://cdn.example.com/x/"}, "https://cdn.example.com/x/dir/a%20b.txt"),
    ],
)
def test_url_is_that_of_the_container(options, url):
    account = {"user": "GOOGABCDEFGHIJKLMNOP", "key": "0" * 40, "bucket": "media", "location": "dir"}
    assert LibCloudStorage(**account, **options).url("a b.txt") == url


def test_directory_has_no_urls_of_its_own(local):
    with pytest.raises(ValueError, match="LIBCLOUD_BASE_URL"):
        local.url("a.txt")


@pytest.mark.parametrize("seconds", [1, 7, 59, 3600, 604_800])
def test_signed_url_lives_as_many_seconds_as_asked(seconds):
    storage = LibCloudStorage(type="S3", user="AKID", key="SECRET", bucket="media")
    query = parse_qs(urlsplit(storage.url("a.txt", expire=seconds)).query)
    assert query["X-Amz-Expires"] == [str(seconds)]
    assert "X-Amz-Signature" in query


def test_signed_url_is_of_its_method():
    storage = LibCloudStorage(type="S3", user="AKID", key="SECRET", bucket="media")
    signatures = set()
    for method in ("GET", "PUT", "DELETE"):
        signatures.add(parse_qs(urlsplit(storage.url("a.txt", http_method=method)).query)["X-Amz-Signature"][0])
    assert len(signatures) == 3
    with pytest.raises(ValueError, match="HEAD"):
        storage.url("a.txt", http_method="HEAD")


def test_session_token_that_a_signed_url_would_lack_is_refused():
    storage = LibCloudStorage(
        type="S3", user="AKID", key="SECRET", bucket="media", driver_options={"token": "SESSION-TOKEN"}
    )
    with pytest.raises(ValueError, match="S3Storage") as error:
        storage.url("a.txt")
    assert "SESSION-TOKEN" not in str(error.value)


def test_signature_that_would_lose_a_parameter_is_refused():
    storage = LibCloudStorage(type="S3", user="AKID", key="SECRET", bucket="media")
    with pytest.raises(ValueError, match="response-content-type"):
        storage.url("a.txt", parameters={"response-content-type": "text/plain"})


# Times


@pytest.mark.parametrize("provider", ["AZURE_BLOBS", "BACKBLAZE_B2", "OPENSTACK_SWIFT"])
def test_capabilities_follow_the_driver(provider):
    capabilities = LibCloudStorage(type=provider, user="me", key="AAAA", bucket="media").capabilities
    assert capabilities.ranges is (provider != "BACKBLAZE_B2")
    assert bool(capabilities.presign) is (provider == "AZURE_BLOBS")
    assert capabilities.streams is (provider != "BACKBLAZE_B2")
    assert not {name for name in capabilities.missing if getattr(capabilities, name)}
