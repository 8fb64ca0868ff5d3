"""What is Azure's own: ways in, options, names, requests on the wire, faults, headers, and bad input."""

from __future__ import annotations

import base64
import copy
import datetime
import gzip
import os
import pickle
import re
import socket
import tracemalloc
import urllib.request
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobClient, ContentSettings, PublicAccess, generate_container_sas
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile, File
from django.test import override_settings

from storages.backends import azure_storage
from storages.backends.azure_storage import EMULATOR, AzureStorage, AzureStorageFile
from storages.contract import DeleteError, ObjectChanged
from storages.settings import HIDDEN
from tests.conftest import running
from tests.servers.azurite import Azurite
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

MIB = 1024**2
KIB = 1024
LARGE = os.urandom(20 * MIB)
HASTY = {"connection_timeout": 1, "read_timeout": 1, "retry_total": 1, "increment_base": 0.1, "random_jitter_range": 0}

# A stalled test fails here instead of holding up the run; the promise is a minute.
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def azurite(pytestconfig: pytest.Config) -> Iterator[Azurite]:
    yield from running(Azurite(), pytestconfig)


@pytest.fixture(scope="module")
def wire(azurite):
    with Proxy(HOST, azurite.port) as proxy:
        yield proxy


class Account:
    """A container of a test's own: storages reach it over a wire, the test looks at it directly."""

    def __init__(self, azurite: Azurite, wire: Proxy):
        self.azurite, self.wire = azurite, wire
        self.name = azurite.make_bucket()
        self.client = azurite.client().get_container_client(self.name)

    @property
    def connection_string(self) -> str:
        return self.azurite.connection_string(f"{self.wire.url}/{self.azurite.account}")

    def storage(self, cls=AzureStorage, **options):
        given = {"connection_string": self.connection_string, "azure_container": self.name, "azure_ssl": False}
        return cls(**{**given, **options})

    def named(self, **options):
        """Return a storage that knows the account by its name, and no credential."""
        suffix = f"azurite.test:{self.azurite.port}"
        return self.storage(
            connection_string=None, account_name=self.azurite.account, endpoint_suffix=suffix, **options
        )

    def sas(self, permission: str, **lifetime) -> str:
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        account, key = self.azurite.account, self.azurite.account_key
        return generate_container_sas(account, self.name, key, permission=permission, **(lifetime or {"expiry": end}))

    def get(self, key: str) -> bytes:
        return self.client.download_blob(key).readall()

    def stat(self, key: str):
        return self.client.get_blob_client(key).get_blob_properties()

    def names(self) -> list[str]:
        return [found.name for found in self.client.list_blobs()]


@pytest.fixture(scope="module")
def one_account(azurite, wire):
    return Account(azurite, wire)


@pytest.fixture
def account(one_account, monkeypatch):
    lookup = socket.getaddrinfo

    def getaddrinfo(host, *arguments, **options):
        return lookup(HOST if str(host).endswith(".azurite.test") else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield one_account
    one_account.wire.heal()
    for key in one_account.names():
        one_account.client.delete_blob(key)


@pytest.fixture
def storage(account):
    return account.storage()


def save(storage, name="a.txt", content=b"content"):
    return storage.save(name, ContentFile(content))


def read(storage, name="a.txt"):
    with storage.open(name) as file:
        return file.read()


def write(storage, name, content, mode="wb"):
    with storage.open(name, mode) as file:
        for start in range(0, len(content), MIB):
            file.write(content[start : start + MIB])


def http(url: str):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.headers, answer.read()


# Ways in

WAYS = {
    "connection string": lambda account: account.storage(),
    "account key": lambda account: account.named(account_key=account.azurite.account_key),
    "SAS token": lambda account: account.named(sas_token="?" + account.sas("racwdl")),
    "connection string with a SAS token": lambda account: account.storage(
        connection_string=f"BlobEndpoint={account.azurite.endpoint_url};SharedAccessSignature={account.sas('racwdl')}"
    ),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_in_serves_every_verb(account, way):
    storage = way(account)
    assert save(storage) == "a.txt"
    assert read(storage) == b"content"
    write(storage, "large.bin", LARGE)
    assert read(storage, "large.bin") == LARGE
    assert (storage.exists("a.txt"), storage.exists("no.txt"), storage.size("a.txt")) == (True, False, 7)
    assert storage.listdir("") == ([], ["a.txt", "large.bin"])
    storage.delete("large.bin")
    storage.delete_many(["a.txt", "missing.txt"])
    assert account.names() == []


def test_copy_with_a_sas_token_shows_it_to_the_source(account):
    storage = WAYS["connection string with a SAS token"](account)
    save(storage)
    storage.move("a.txt", "b.txt")
    assert account.names() == ["b.txt"]


def test_open_container_is_read_without_a_credential(account):
    save(account.storage())
    account.client.set_container_access_policy({}, public_access=PublicAccess.BLOB)
    try:
        anybody = account.named()
        assert read(anybody) == b"content"
        with pytest.raises(PermissionError, match="AZURE_ACCOUNT_KEY"):
            save(anybody, "b.txt")
    finally:
        account.client.set_container_access_policy({})


class Identity:
    """A token credential that nobody asks."""

    def get_token(self, *scopes, **options):
        raise AssertionError("no request was to be sent")


ALL_WAYS = {"account_key": "a2V5", "sas_token": "sv=1&sp=r&sig=x", "token_credential": Identity()}
ORDER = [
    (ALL_WAYS, "SharedKeyCredentialPolicy"),
    ({name: ALL_WAYS[name] for name in ("sas_token", "token_credential")}, "AzureSasCredential"),
    ({"token_credential": ALL_WAYS["token_credential"]}, "Identity"),
    ({}, "NoneType"),
]


@pytest.mark.parametrize(("given", "used"), ORDER)
def test_key_comes_before_sas_token_before_token_credential(given, used):
    storage = AzureStorage(account_name="account", azure_container="files", **given)
    assert type(storage.service_client.credential).__name__ == used


def test_connection_string_comes_before_everything():
    storage = AzureStorage(connection_string=EMULATOR, azure_container="files", **ALL_WAYS)
    assert storage.service_client.account_name == "devstoreaccount1"


def test_connection_string_tells_account_and_key():
    storage = AzureStorage(connection_string="AccountName=mine;AccountKey=a2V5", azure_container="files")
    assert (storage.account_name, storage.account_key) == ("mine", "a2V5")
    assert storage.url("a.txt") == "https://mine.blob.core.windows.net/files/a.txt"


EMULATED = [
    {"is_emulated": True},
    {"connection_string": "UseDevelopmentStorage=true"},
    {"connection_string": "UseDevelopmentStorage=true;"},
]


@pytest.mark.parametrize("options", EMULATED)
def test_emulator_has_one_address_and_key(options):
    storage = AzureStorage(azure_container="files", azure_ssl=False, **options)
    assert storage.url("a.txt") == "http://127.0.0.1:10000/devstoreaccount1/files/a.txt"
    assert "&sig=" in storage.url("a.txt", 60)


@override_settings(AZURE_EMULATED_MODE=True, AZURE_CONTAINER="files")
def test_emulator_by_its_django_setting():
    assert AzureStorage().service_client.url == "http://127.0.0.1:10000/devstoreaccount1/"


def test_token_credential_needs_tls():
    storage = AzureStorage(account_name="mine", azure_container="files", token_credential=Identity(), azure_ssl=False)
    with pytest.raises(ImproperlyConfigured, match="AZURE_SSL"):
        storage.client  # noqa: B018


# Options


def test_client_options_reach_a_client_of_a_connection_string(account):
    options = {"api_version": "2021-08-06"}
    storage = account.storage(client_options=options)
    with account.wire.counting() as seen:
        storage.exists("a.txt")
    assert seen[0].headers["x-ms-version"] == "2021-08-06"
    assert options == {"api_version": "2021-08-06"}


def test_api_version_is_deprecated_and_goes_to_the_client(account):
    options = {"retry_total": 0}
    with pytest.warns(DeprecationWarning, match="client_options"):
        storage = account.storage(api_version="2021-08-06", client_options=options)
    assert storage.service_client.api_version == "2021-08-06"
    assert options == {"retry_total": 0}


def test_timeout_goes_along_with_requests(account):
    storage = account.storage(timeout=7)
    save(storage)
    with account.wire.counting() as seen:
        storage.size("a.txt")
        storage.listdir("")
        read(storage)
        storage.copy("a.txt", "b.txt")
        storage.delete("a.txt")
    assert len(seen) == 5
    assert all(re.search(r"[?&]timeout=7(&|$)", exchange.path) for exchange in seen)


def test_location_may_begin_with_a_slash(account):
    storage = account.storage(location="/site/media/")
    assert save(storage) == "a.txt"
    assert account.names() == ["site/media/a.txt"]


def test_removed_option_says_what_to_use():
    with pytest.raises(ImproperlyConfigured, match="AZURE_CUSTOM_DOMAIN"):
        AzureStorage(custom_connection_string=EMULATOR)


@pytest.mark.parametrize("name", ["service", "custom_service"])
def test_removed_member_says_what_to_use(name):
    with pytest.raises(AttributeError, match="service_client"):
        getattr(AzureStorage(), name)


@pytest.mark.parametrize("overwrite", [False, True])
def test_available_name_has_no_more_than_1024_characters(account, overwrite):
    storage = account.storage(overwrite_files=overwrite)
    long = f"dir/{1100 * 'x'}.txt"
    cut = storage.get_available_name(long)
    assert (len(cut), cut[:5], cut[-5:]) == (1024, "dir/x", "x.txt")
    assert len(storage.get_available_name(cut, 100)) == 100
    assert storage.get_available_name("a.txt") == "a.txt"
    with pytest.raises(SuspiciousFileOperation):  # but what is saved is not renamed
        storage.save(long, ContentFile(b"x"))


def test_blocks_of_a_file_on_disk_go_as_many_at_a_time_as_others():
    storage = AzureStorage(upload_max_conn=3)
    assert (storage.parts_at_once, storage.file_parts_at_once) == (3, 3)


def test_members_of_earlier_releases_are_there(account):
    storage = account.storage(location="site", expiration_secs=60)
    for name in ("a.txt", "dir/b.txt", "dir/sub/c.txt"):
        save(storage, name)
    assert storage.list_all() == ["a.txt", "dir/b.txt", "dir/sub/c.txt"]
    assert storage.list_all("dir") == ["dir/b.txt", "dir/sub/c.txt"]
    assert storage.get_name_max_len() == 1024
    assert storage.azure_protocol == "http"
    assert storage.client.container_name == account.name
    assert storage.service_client.account_name == account.azurite.account
    assert storage.get_available_name("a.txt", 1024) != "a.txt"
    with storage.open("a.txt") as file:
        assert isinstance(file, AzureStorageFile)


def test_hooks_of_earlier_releases_are_called(account):
    class Tenant(AzureStorage):
        def _get_valid_path(self, name):
            return f"tenant/{super()._get_valid_path(name)}"

        def _get_content_settings_parameters(self, name, content=None):
            parameters = super()._get_content_settings_parameters(name, content)
            return {**parameters, "content_language": "fr", "content_disposition": f"inline; filename={name}"}

        def _expire_at(self, expire):
            return datetime.datetime(2100, 1, 1, tzinfo=datetime.timezone.utc)

        def _get_service_client(self):
            client = super()._get_service_client()
            client.mine = True
            return client

    storage = account.storage(Tenant, location="site")
    save(storage)
    settings = account.stat("tenant/site/a.txt").content_settings
    assert (settings.content_language, settings.content_disposition) == ("fr", "inline; filename=tenant/site/a.txt")
    assert storage.listdir("") == ([], ["a.txt"])
    assert [entry.name for entry in storage.walk()] == ["a.txt"]
    assert "se=2100-01-01" in storage.url("a.txt", 60)
    assert storage.service_client.mine


def test_storages_of_one_configuration_share_a_client(account):
    one, other, another = account.storage(), account.storage(location="x"), account.storage(client_options=HASTY)
    assert one.service_client is other.service_client
    assert one.service_client is not another.service_client


def test_no_copy_of_a_storage_takes_a_client_along(account, storage):
    save(storage)
    for made in (copy.deepcopy(storage), pickle.loads(pickle.dumps(storage))):
        assert read(made) == b"content"
        assert made.service_client is storage.service_client


# Names


def test_names_are_kept_as_they_are(storage, account):
    names = [".k", "k", ".hidden/.env", "a b", "dir/x..y", "~", "a.tar.gz"]
    for name in names:
        assert save(storage, name, name.encode()) == name
    assert sorted(account.names()) == sorted(names)
    assert [read(storage, name) for name in names] == [name.encode() for name in names]


@pytest.mark.parametrize("name", ["x.", "dir./x", "dir/x.", "a/" * 254 + "b"])
def test_name_that_azure_would_change_is_refused_without_a_request(storage, account, name):
    with account.wire.counting() as seen:
        for verb in (save, read, AzureStorage.size, AzureStorage.delete, AzureStorage.url, write_one):
            with pytest.raises(SuspiciousFileOperation):
                verb(storage, name)
        with pytest.raises(DeleteError):
            storage.delete_many([name])
    assert seen == []


def write_one(storage, name):
    write(storage, name, b"x")


# Requests


def test_small_file_costs_one_request_each_way(storage, account):
    with account.wire.counting() as seen:
        save(storage)
        assert read(storage) == b"content"
        write(storage, "b.txt", b"written")
        storage.exists("a.txt")
        storage.exists("missing.txt")
        storage.size("a.txt")
        storage.copy("a.txt", "c.txt")
        storage.delete("a.txt")
    assert seen.methods == ["PUT", "GET", "PUT", "GET", "GET", "HEAD", "PUT", "DELETE"]


def test_taken_name_costs_a_second_request(storage, account):
    save(storage)
    with account.wire.counting() as seen:
        other = save(storage, content=b"other")
    assert [exchange.status for exchange in seen] == [409, 201]
    assert [exchange.headers["if-none-match"] for exchange in seen] == ["*", "*"]
    assert (read(storage), read(storage, other)) == (b"content", b"other")


def test_replacing_costs_one_request_without_a_condition(account):
    storage = account.storage(overwrite_files=True)
    save(storage)
    with account.wire.counting() as seen:
        assert save(storage, content=b"other") == "a.txt"
    assert seen.methods == ["PUT"]
    assert "if-none-match" not in seen[0].headers
    assert account.get("a.txt") == b"other"


def test_part_of_a_large_file_costs_as_much(storage, account):
    save(storage, "large.bin", LARGE)
    with account.wire.counting() as seen:
        with storage.open("large.bin") as file:
            assert file.read(KIB) == LARGE[:KIB]
    assert seen.methods == ["GET"]
    assert seen.downloaded <= 256 * KIB + KIB


def test_every_range_is_of_the_same_object(storage, account):
    save(storage, "large.bin", LARGE)
    with storage.open("large.bin") as file, account.wire.counting() as seen:
        assert file.read() == LARGE
    assert {exchange.headers["if-match"] for exchange in seen} == {account.stat("large.bin").etag}


def test_range_beyond_the_end_is_empty(storage):
    save(storage)
    save(storage, "empty", b"")
    assert storage.open_range("a.txt", 100).read() == storage.open_range("a.txt", 100, 200).read() == b""
    assert storage.open_range("empty", 0, 5).read() == read(storage, "empty") == b""
    assert storage.open_range("a.txt", 2, 4).read() == b"nt"


def test_batch_reports_each_failure(storage, account):
    names = [f"{number}.txt" for number in range(3)]
    for name in names:
        save(storage, name)
    lease = account.client.get_blob_client("1.txt").acquire_lease()
    with pytest.raises(DeleteError) as error:
        storage.delete_many([*names, "missing.txt"])
    assert error.value.errors.keys() == {"1.txt"}
    assert isinstance(error.value.errors["1.txt"], PermissionError)
    lease.release()
    assert account.names() == ["1.txt"]


def test_listing_parts_directories_from_files_below_a_location(account):
    storage = account.storage(location="site")
    for name in ("root.txt", "dir/a.txt", "dir/sub/b.txt"):
        save(storage, name)
    account.client.upload_blob("elsewhere.txt", b"x")
    account.client.upload_blob("site/dir/", b"")  # as tools show a directory
    with account.wire.counting() as seen:
        assert storage.listdir("") == (["dir"], ["root.txt"])
        assert storage.listdir("dir") == (["sub"], ["a.txt"])
        assert [entry.name for entry in storage.walk()] == ["dir/a.txt", "dir/sub/b.txt", "root.txt"]
    assert len(seen) == 3


def test_listing_tells_what_a_stat_tells(storage):
    save(storage)
    (entry,) = storage.walk()
    stat = storage.open("a.txt").stat
    assert (entry.size, entry.modified, entry.etag) == (stat.size, stat.modified, stat.etag)


# Long writes


def test_long_write_goes_in_blocks_and_shows_at_the_end(storage, account):
    with account.wire.counting() as seen:
        with storage.open("large.bin", "wb") as file:
            file.write(LARGE)
            assert account.names() == []
    assert seen.methods == ["PUT"] * 4
    assert sum("comp=blocklist" in exchange.path for exchange in seen) == 1
    assert account.get("large.bin") == LARGE
    assert account.stat("large.bin").content_settings.content_type == "application/octet-stream"


def test_two_writers_of_one_name_do_not_mix(account):
    storage = account.storage(overwrite_files=True)
    one, other = storage.open("large.bin", "wb"), storage.open("large.bin", "wb")
    for start in range(0, len(LARGE), MIB):
        one.write(LARGE[start : start + MIB])
        other.write(bytes(MIB))
    one.close()
    assert account.get("large.bin") == LARGE
    other.discard()


def test_long_exclusive_write_is_refused_at_its_end(storage, account):
    with pytest.raises(FileExistsError), storage.open("large.bin", "xb") as file:
        file.write(LARGE)
        account.client.upload_blob("large.bin", b"first")
    assert account.get("large.bin") == b"first"


def test_long_write_holds_a_few_blocks(storage, tmp_path):
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(96 * MIB)
    save(storage, "warm.txt")
    tracemalloc.start()
    try:
        with path.open("rb") as file:
            storage.save("large.bin", File(file))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * MIB
    assert storage.size("large.bin") == 96 * MIB


def test_update_of_a_changed_object_is_refused(storage, account):
    save(storage)
    with pytest.raises(ObjectChanged), storage.open("a.txt", "r+b") as file:
        file.write(b"mine")
        account.client.upload_blob("a.txt", b"theirs", overwrite=True)
    assert account.get("a.txt") == b"theirs"


# Headers


@pytest.mark.parametrize("content", [b"small", LARGE], ids=["small", "large"])
def test_parameters_go_along_with_every_write(account, content):
    parameters = {"content_disposition": "attachment", "metadata": {"owner": "me"}, "tags": {"kind": "photo"}}
    storage = account.storage(object_parameters=parameters, cache_control="max-age=60")
    save(storage, "a.png", content)
    stat = account.stat("a.png")
    settings = stat.content_settings
    assert (settings.content_type, settings.cache_control) == ("image/png", "max-age=60")
    assert (settings.content_disposition, stat.metadata) == ("attachment", {"owner": "me"})
    assert account.client.get_blob_client("a.png").get_blob_tags() == {"kind": "photo"}


def test_copy_keeps_the_headers_that_it_is_not_given(account):
    settings = ContentSettings("text/x-own", content_language="fr", cache_control="no-store")
    account.client.upload_blob("a.txt", b"x", content_settings=settings, metadata={"owner": "me"})
    parameters = {"metadata": {"copy": "yes"}, "tags": {"kind": "copy"}}
    account.storage().copy("a.txt", "plain.txt")
    account.storage(cache_control="max-age=60", object_parameters=parameters).copy("a.txt", "given.txt")
    plain, given = account.stat("plain.txt"), account.stat("given.txt")
    found = [(s.content_settings.content_type, s.content_settings.content_language) for s in (plain, given)]
    assert found == [("text/x-own", "fr")] * 2
    assert [s.content_settings.cache_control for s in (plain, given)] == ["no-store", "max-age=60"]
    assert [s.metadata for s in (plain, given)] == [{"owner": "me"}, {"copy": "yes"}]
    assert account.client.get_blob_client("given.txt").get_blob_tags() == {"kind": "copy"}


def test_unknown_parameter_is_refused_with_the_nearest(account):
    storage = account.storage(object_parameters={"CacheControl": "no-store"})
    with pytest.raises(ImproperlyConfigured, match="CacheControl"):
        save(storage)
    assert account.names() == []


def test_stored_encoding_changes_no_byte(storage, account):
    packed = gzip.compress(b"plain" * 1000, mtime=0)
    account.client.upload_blob("a.css", packed, content_settings=ContentSettings("text/css", "gzip"))
    assert save(storage, "a.tar.gz", packed) == "a.tar.gz"
    assert read(storage, "a.css") == read(storage, "a.tar.gz") == packed
    assert storage.open_range("a.css", 3, 30).read() == packed[3:30]
    assert account.stat("a.tar.gz").content_settings.content_type == "application/gzip"
    assert account.stat("a.tar.gz").content_settings.content_encoding is None


def test_checksums_go_along_when_switched_on(account):
    storage = account.storage(checksums=True)
    with account.wire.counting() as seen:
        save(storage)
        save(storage, "large.bin", LARGE)
        assert read(storage, "large.bin") == LARGE
    sent = [exchange for exchange in seen if exchange.method == "PUT"]
    assert all("content-md5" in exchange.headers for exchange in sent)
    ranges = [exchange for exchange in seen if exchange.status == 206]
    assert len(ranges) > 1
    assert {exchange.headers.get("x-ms-range-get-content-md5") for exchange in ranges} == {"true"}


def test_times_are_those_of_the_service(storage, account):
    save(storage)
    stat = account.stat("a.txt")
    assert storage.get_created_time("a.txt") == stat.creation_time
    assert storage.get_modified_time("a.txt") == stat.last_modified
    with pytest.raises(NotImplementedError):
        storage.get_accessed_time("a.txt")


# Copies in the background


@pytest.fixture
def slow_copy(monkeypatch):
    """A service that copies in the background; gives what it was told."""
    told = SimpleNamespace(looks=[], aborted=[], pending=2)
    properties = BlobClient.get_blob_properties
    start = BlobClient.start_copy_from_url

    def look(client, **options):
        told.looks.append(client.blob_name)
        found = properties(client, **options)
        found.copy.status = "pending" if len(told.looks) < told.pending else "success"
        return found

    monkeypatch.setattr(azure_storage, "COPY_POLL", 0)
    monkeypatch.setattr(BlobClient, "get_blob_properties", look)
    monkeypatch.setattr(BlobClient, "abort_copy", lambda client, copy_id, **options: told.aborted.append(copy_id))
    monkeypatch.setattr(BlobClient, "start_copy_from_url", lambda *a, **k: {**start(*a, **k), "copy_status": "pending"})
    return told


def test_copy_waits_for_the_service(storage, account, slow_copy):
    save(storage)
    storage.copy("a.txt", "b.txt")
    assert slow_copy.looks == ["b.txt"] * 2
    assert account.get("b.txt") == b"content"


def test_copy_that_takes_too_long_is_stopped(storage, slow_copy, monkeypatch):
    monkeypatch.setattr(azure_storage, "PATIENCE", -1)
    slow_copy.pending = 1000
    save(storage)
    with pytest.raises(TimeoutError):
        storage.copy("a.txt", "b.txt")
    assert len(slow_copy.aborted) == 1


# Faults


@pytest.fixture
def hasty(account):
    return account.storage(client_options=HASTY, overwrite_files=True)


FAILING = {
    "exists": lambda storage: storage.exists("a.txt"),
    "read": read,
    "size": lambda storage: storage.size("a.txt"),
    "listdir": lambda storage: storage.listdir(""),
    "save": lambda storage: save(storage, "b.txt"),
    "long save": lambda storage: save(storage, "b.txt", LARGE),
    "copy": lambda storage: storage.copy("a.txt", "b.txt"),
    "delete": lambda storage: storage.delete("a.txt"),
    "delete_many": lambda storage: storage.delete_many(["a.txt"]),
}


@pytest.mark.parametrize("verb", FAILING.values(), ids=FAILING)
def test_silent_service_is_a_timeout_and_the_next_call_works(account, hasty, verb):
    save(hasty)
    account.wire.mute()
    with pytest.raises(TimeoutError) as error:
        verb(hasty)
    assert isinstance(error.value, AzureError)
    account.wire.heal()
    assert read(hasty) == b"content"
    assert account.names() == ["a.txt"]


@pytest.mark.parametrize("verb", FAILING.values(), ids=FAILING)
def test_refused_connection_is_a_connection_error(account, hasty, verb):
    save(hasty)
    account.wire.refuse()
    with pytest.raises(ConnectionError, match="AZURE_ACCOUNT_NAME"):
        verb(hasty)
    account.wire.heal()
    assert read(hasty) == b"content"


def test_download_that_stalls_is_a_timeout(account):
    storage = account.storage(client_options={**HASTY, "read_timeout": 0.3, "retry_total": 0})
    save(account.storage(), "large.bin", LARGE)
    account.wire.stall(down=MIB)
    with pytest.raises(TimeoutError):
        storage.open_range("large.bin", 0).read()


@pytest.mark.parametrize("fault", ["reset", "hang_up"])
def test_download_that_breaks_off_is_asked_for_again(account, hasty, fault):
    save(hasty, "large.bin", LARGE)
    getattr(account.wire, fault)(down=MIB)
    assert read(hasty, "large.bin") == LARGE


@pytest.mark.parametrize("fault", ["reset", "hang_up"])
def test_upload_that_breaks_off_is_sent_again(account, hasty, fault):
    getattr(account.wire, fault)(up=MIB)
    save(hasty, "large.bin", LARGE)
    assert account.get("large.bin") == LARGE


def test_busy_service_is_asked_again(account, hasty):
    account.wire.slow_down(times=1)
    save(hasty)
    assert account.get("a.txt") == b"content"


def test_no_request_is_sent_again_when_its_timeout_would_end_too_late(account, monkeypatch):
    monkeypatch.setattr(azure_storage, "PATIENCE", 0.5)
    storage = account.storage(client_options={**HASTY, "retry_total": 5})
    account.wire.mute()
    before = account.wire.connections
    with pytest.raises(TimeoutError):
        storage.size("a.txt")
    assert account.wire.connections == before + 1


def test_error_hides_the_signature_of_its_url(account):
    token = account.sas("rl")
    storage = account.named(sas_token=token, client_options={"retry_total": 0})
    storage.endpoint_suffix = "azurite.test:1"
    with pytest.raises(ConnectionError) as caught:
        read(storage)
    signature = re.search("sig=([^&]+)", token)[1]
    error: BaseException | None = caught.value
    while error is not None:
        assert signature not in f"{error} {error!r}"
        error = error.__cause__


def test_signature_is_hidden_in_an_error_and_its_causes():
    cause = OSError("no route to https://a/b?sp=r&sig=ab%2Fcd&sv=1")
    error = AzureError("failed: /b?sig=abcd")
    error.__cause__ = cause
    azure_storage._hide_signatures(error)
    assert (str(cause), error.message) == (
        f"no route to https://a/b?sp=r&sig={HIDDEN}&sv=1",
        f"failed: /b?sig={HIDDEN}",
    )


# Bad input

ELSEWHERE = {name: verb for name, verb in FAILING.items() if name not in ("long save", "delete_many")}


@pytest.mark.parametrize("verb", ELSEWHERE.values(), ids=ELSEWHERE)
def test_missing_container_is_told_by_name(account, verb):
    storage = account.storage(azure_container="nowhere")
    with pytest.raises(
        ImproperlyConfigured, match=r"'nowhere' does not exist in the account.*AZURE_CONTAINER"
    ) as error:
        verb(storage)
    assert isinstance(error.value, HttpResponseError)


WRONG = {
    "no container": ({"azure_container": None}, ImproperlyConfigured, "AZURE_CONTAINER"),
    "no account": ({"connection_string": None}, ImproperlyConfigured, "AZURE_ACCOUNT_NAME"),
    "malformed string": ({"connection_string": "AccountName"}, ImproperlyConfigured, "AZURE_CONNECTION_STRING"),
    "name of no container": ({"azure_container": "x"}, ImproperlyConfigured, "3 to 63"),
    "key not base64": (
        {"connection_string": "AccountName=x;AccountKey=x;BlobEndpoint=http://127.0.0.1:1/x"},
        ImproperlyConfigured,
        "not base64",
    ),
}


@pytest.mark.parametrize(("options", "error", "message"), WRONG.values(), ids=WRONG)
def test_wrong_option_is_told(account, options, error, message):
    with pytest.raises(error, match=message):
        account.storage(**options).size("a.txt")


def test_key_that_is_not_base64_signs_nothing():
    storage = AzureStorage(account_name="mine", account_key="x", azure_container="files")
    with pytest.raises(ImproperlyConfigured, match="not base64"):
        storage.url("a.txt", 60)


def test_wrong_key_is_a_permission_error_without_the_key(account):
    wrong = base64.b64encode(b"another key").decode()
    storage = account.storage(connection_string=account.azurite.connection_string(account_key=wrong))
    with pytest.raises(PermissionError) as error:
        storage.exists("a.txt")
    assert wrong not in str(error.value)


def test_sas_token_without_listing_tells_objects_only(account):
    storage = account.named(sas_token=account.sas("rcw"))
    save(storage, "dir/a.txt")
    assert [storage.exists(name) for name in ("dir/a.txt", "dir/b.txt")] == [True, False]
    with pytest.raises(PermissionError):
        storage.listdir("")


def test_errors_are_the_services_too(storage):
    with pytest.raises(ResourceNotFoundError) as missing:
        storage.size("missing.txt")
    assert isinstance(missing.value, FileNotFoundError)
    assert (missing.value.status_code, missing.value.error_code) == (404, "BlobNotFound")
    save(storage)
    with pytest.raises(ResourceExistsError) as taken:
        storage._save("a.txt", ContentFile(b"x"))
    assert isinstance(taken.value, FileExistsError)
