"""What is special to IPFSStorage: CIDs, pins, gateways, credentials, costs on the wire, faults."""

from __future__ import annotations

import io
import shutil
import tracemalloc
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db.migrations.writer import MigrationWriter
from django.test import override_settings

from storages import process
from storages.backends import ipfs as module
from storages.backends.ipfs import InterPlanetaryFileSystemStorage, IPFSStorage, RPCError
from storages.testing.harness import outcome, pattern
from storages.testing.reading import REFUSABLE
from tests.conftest import running
from tests.servers.ipfs import FakeIPFS, JsIPFS, cid_of
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

MIB = 1024**2
HASTY = {"connect_timeout": 1, "read_timeout": 1, "max_attempts": 2}
HELLO = "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"
NOWHERE = cid_of(b"what nobody has saved")

# Made by js-ipfs; the first one by Kubo too.
GOLDEN = {
    HELLO: (b"hello world", {}),
    "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH": (b"", {}),
    "QmXXNNbwe4zzpdMg62ZXvnX1oU7MwSrQ3vAEtuwFKCm1oD": (bytes(1_000_000), {}),
    "Qmf2cbh2kFQHqL88bBZ5jHNokBhozmRCbxiLER6Anaicjn": (bytes(50_000_000), {}),
    "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e": (b"hello world", {"cid_version": 1}),
    "bafybeidide6lpcdutn3we5vvypssfhlq2n265w6dygwj37fyeklhlmfi34": (bytes(1_000_000), {"cid_version": 1}),
}

# A stalled test fails here instead of holding up the run; the promise is a minute.
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def js_ipfs(pytestconfig):
    yield from running(JsIPFS(), pytestconfig)


@pytest.fixture
def fake():
    with FakeIPFS() as fake:
        yield fake


@pytest.fixture(params=["fake", pytest.param("js_ipfs", marks=pytest.mark.js_ipfs)])
def node(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(autouse=True)
def _no_known_sizes():
    process.forget("ipfs sizes")


@pytest.fixture
def wire(fake):
    with Proxy(HOST, fake.port) as wire:
        yield wire


@pytest.fixture
def storage(wire, fake):
    """A storage that reaches the fake over a wire that counts and breaks."""
    return IPFSStorage(f"{wire.url}/api/v0/", fake.gateway_url, lookup_timeout=1)


def save(storage, content=b"hello world", name="dir/hello.txt"):
    return storage.save(name, ContentFile(content))


def calls(seen):
    """Return the commands on a wire."""
    return [one.path.partition("?")[0].removeprefix("/api/v0/") for one in seen]


def read(storage, name):
    with storage.open(name) as file:
        return file.read()


# CIDs and pins


@pytest.mark.parametrize("cid", GOLDEN)
def test_name_is_the_cid_of_the_content(storage, cid):
    content, options = GOLDEN[cid]
    storage = IPFSStorage(storage.api_url, **options)
    assert save(storage, content) == cid
    assert read(storage, cid) == content
    assert storage.size(cid) == len(content)


@pytest.mark.parametrize("options", [{}, {"raw_leaves": True}, {"raw_leaves": False, "cid_version": 1}])
def test_content_is_pinned_and_round_trips(node, options):
    storage = IPFSStorage(node.api_url, **options)
    content = pattern(600_000)
    name = save(storage, content)
    assert storage.exists(name)
    assert name in [entry.name for entry in storage.walk()]
    assert read(storage, name) == content
    with storage.open_range(name, 250_000, 300_000) as body:
        assert body.read() == content[250_000:300_000]
    process.forget("ipfs sizes")
    assert storage.size(name) == 600_000


def test_equal_files_are_one(node):
    storage = IPFSStorage(node.api_url)
    assert save(storage, b"equal", "a.txt") == save(storage, b"equal", "b.txt")


def test_file_may_be_left_unpinned(fake):
    storage = IPFSStorage(fake.api_url, pin=False)
    name = save(storage)
    assert list(fake.pins) == []
    assert storage.exists(name)
    fake.collect_garbage()
    assert not storage.exists(name)


def test_delete_unpins_and_is_idempotent(node):
    storage = IPFSStorage(node.api_url)
    name = save(storage, b"to be deleted")
    storage.delete(name)
    assert not storage.exists(name)
    storage.delete(name)
    assert name not in [entry.name for entry in storage.walk()]


def test_delete_can_be_switched_off(fake, storage):
    name = save(storage)
    IPFSStorage(fake.api_url, delete_mode="noop").delete(name)
    assert storage.exists(name)


USED: set[str] = set()


def is_used(name):
    """Stand for a query of the models that hold names."""
    return name in USED


@pytest.mark.parametrize("still_used", [is_used, f"{__name__}.is_used"], ids=["callable", "dotted path"])
def test_pin_that_is_still_used_stays(fake, still_used):
    storage = IPFSStorage(fake.api_url, still_used=still_used)
    kept, freed = save(storage, b"of two rows"), save(storage, b"of one row")
    USED.add(kept)
    storage.delete_many([kept, freed])
    assert list(fake.pins) == [kept]


def test_collected_file_is_missing(fake, storage):
    name = save(storage)
    storage.delete(name)
    fake.collect_garbage()
    for verb in (storage.size, storage.open):
        process.forget("ipfs sizes")
        with pytest.raises(FileNotFoundError):
            verb(name)


@pytest.mark.js_ipfs
def test_file_that_is_nowhere_is_missing_after_a_while(js_ipfs):
    storage = IPFSStorage(js_ipfs.api_url, lookup_timeout=1)
    assert not storage.exists(NOWHERE)
    with pytest.raises(FileNotFoundError):
        storage.open(NOWHERE)


@pytest.mark.parametrize("name", ["photo.jpg", "dir/photo.jpg", "Qmnot", HELLO[:-1], f"{HELLO}0"])
def test_name_that_is_no_cid_is_missing_without_a_request(storage, wire, name):
    with wire.counting() as seen:
        assert not storage.exists(name)
        storage.delete(name)
        for verb in (storage.open, storage.size, lambda name: storage.open(name, "r")):
            with pytest.raises(FileNotFoundError):
                verb(name)
        with pytest.raises(ValueError, match="is no CID"):
            storage.url(name)
    assert seen == []


@pytest.mark.parametrize("mode", ["wb", "w", "xb", "ab", "r+b", "w+b"])
def test_file_is_not_opened_for_writing(fake, storage, mode):
    name = save(storage)
    with pytest.raises(NotImplementedError, match=r"only save\(\) writes"):
        storage.open(name, mode)
    assert list(fake.pins) == [name]


@pytest.mark.parametrize("verb", ["copy", "move"])
def test_name_is_not_chosen_by_copying(fake, storage, verb):
    name = save(storage)
    with pytest.raises(NotImplementedError):
        getattr(storage, verb)(name, "other.txt")
    assert list(fake.pins) == [name]


def test_name_longer_than_the_column_is_no_matter(storage):
    assert storage.save("x" * 300, ContentFile(b"hello world"), max_length=100) == HELLO


def test_threads_share_one_instance(node):
    storage = IPFSStorage(node.api_url)
    contents = [pattern(50_000, seed=number) for number in range(64)]
    with ThreadPoolExecutor(16) as threads:
        names = list(threads.map(lambda content: save(storage, content), contents))
        assert list(threads.map(lambda name: read(storage, name), names)) == contents


# URLs


def test_gateway_serves_the_bytes(node):
    storage = IPFSStorage(node.api_url, node.gateway_url)
    with urllib.request.urlopen(storage.url(save(storage, b"served")), timeout=10) as answer:
        assert answer.read() == b"served"


GATEWAYS = {
    "https://ipfs.io/ipfs/": f"https://ipfs.io/ipfs/{HELLO}",
    "https://ipfs.io/ipfs": f"https://ipfs.io/ipfs/{HELLO}",
    "http://localhost:8080/ipfs/": f"http://localhost:8080/ipfs/{HELLO}",
    "https://{cid}.ipfs.dweb.link": f"https://{HELLO}.ipfs.dweb.link",
}


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("setting", ["IPFS_STORAGE_GATEWAY_URL", "IPFS_GATEWAY_API_URL"])
def test_url_is_the_gateways(gateway, setting):
    with override_settings(**{setting: gateway}):
        assert IPFSStorage().url(HELLO) == GATEWAYS[gateway]


def test_default_is_a_node_here_and_the_public_gateway():
    storage = InterPlanetaryFileSystemStorage()
    assert storage.api_url == "http://localhost:5001/api/v0/"
    assert storage.url(HELLO) == f"https://ipfs.io/ipfs/{HELLO}"


def test_setting_that_the_old_code_read_wins():
    both = {"IPFS_STORAGE_GATEWAY_URL": "https://one.example.com/", "IPFS_GATEWAY_API_URL": "https://two.example.com/"}
    with override_settings(**both):
        assert IPFSStorage().url(HELLO) == f"https://one.example.com/{HELLO}"


def test_file_name_can_be_kept_for_the_url(fake):
    storage = IPFSStorage(fake.api_url, fake.gateway_url, filename_in_url=True)
    name = save(storage, name="dir/für & wider.txt")
    assert name == f"{HELLO}/für & wider.txt"
    assert storage.url(name) == f"{fake.gateway_url}{HELLO}?filename=f%C3%BCr+%26+wider.txt"
    assert read(storage, name) == b"hello world"
    assert storage.exists(name)
    storage.delete(name)
    assert list(fake.pins) == []


def test_file_name_can_be_given_with_the_url():
    url = IPFSStorage().url(HELLO, parameters={"filename": "a.txt", "download": "true"})
    assert url == f"https://ipfs.io/ipfs/{HELLO}?filename=a.txt&download=true"


# Costs

COSTS = {
    "save": (lambda storage, name: save(storage, b"another"), ["add"]),
    "exists": (lambda storage, name: storage.exists(name), ["pin/ls"]),
    "size": (lambda storage, name: storage.size(name), ["files/stat"]),
    "read": (read, ["cat"]),
    "a range": (lambda storage, name: storage.open_range(name, 2, 4).close(), ["cat"]),
    "delete": (lambda storage, name: storage.delete(name), ["pin/rm"]),
    "listdir": (lambda storage, name: storage.listdir(""), ["pin/ls"]),
    "url": (lambda storage, name: storage.url(name), []),
}


@pytest.mark.parametrize("verb", COSTS)
def test_verb_costs(storage, wire, verb):
    name = save(storage)
    call, expected = COSTS[verb]
    with wire.counting() as seen:
        call(storage, name)
    assert calls(seen) == expected
    assert {one.method for one in seen} <= {"POST"}


def test_size_of_a_file_is_asked_for_once(storage, wire):
    name = save(storage)
    process.forget("ipfs sizes")
    with wire.counting() as seen:
        assert [read(storage, name) for _ in range(2)] == [b"hello world"] * 2
    assert calls(seen) == ["files/stat", "cat", "cat"]


def test_known_sizes_are_bounded(storage, monkeypatch):
    monkeypatch.setattr(module, "KNOWN_SIZES", 3)
    names = [save(storage, b"%d" % number) for number in range(5)]
    assert list(storage._sizes) == names[2:]


class Endless(io.RawIOBase):
    """A source that cannot seek, of 40 MiB."""

    left = 40 * MIB

    def readable(self):
        return True

    def readinto(self, target):
        size = min(len(target), self.left)
        target[:size] = bytes(size)
        self.left -= size
        return size


@pytest.mark.js_ipfs
def test_long_file_is_streamed_up(js_ipfs):
    storage = IPFSStorage(js_ipfs.api_url)
    tracemalloc.start()
    try:
        name = storage.save("long.bin", File(Endless()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert name == cid_of(bytes(40 * MIB))
    assert peak < 24 * MIB


# Credentials


@pytest.mark.parametrize(
    ("options", "authorization"),
    [
        ({"auth": "a-token"}, "Bearer a-token"),
        ({"auth": ("user", "pass:word")}, "Basic dXNlcjpwYXNzOndvcmQ="),
        ({"headers": {"Authorization": "Own scheme"}}, "Own scheme"),
        ({"api_url": "http://us%65r:p%40ss@{address}/api/v0/"}, "Basic dXNlcjpwQHNz"),
    ],
)
def test_credentials_are_sent(options, authorization):
    with FakeIPFS(authorization) as fake:
        given = {"api_url": fake.api_url, **options}
        given["api_url"] = given["api_url"].replace("{address}", f"{HOST}:{fake.port}")
        storage = IPFSStorage(**given)
        assert read(storage, save(storage)) == b"hello world"


@pytest.mark.parametrize("verb", REFUSABLE)
def test_missing_credentials_are_a_permission_error_with_advice(verb):
    with FakeIPFS("Bearer right") as fake:
        storage = IPFSStorage(fake.api_url, auth="wrong-token")
        deeds = {"open": storage.open, "size": storage.size, "get_modified_time": storage.get_modified_time}
        deeds.update(exists=storage.exists, delete=storage.delete, stat=storage.stat)
        deeds["open_range"] = lambda name: storage.open_range(name, 0, 1)
        deed = deeds.get(verb, lambda name: REFUSABLE["save" if verb == "copy" else verb](storage))
        with pytest.raises(PermissionError, match="IPFS_STORAGE_AUTH") as caught:
            deed(HELLO)
        assert "wrong-token" not in f"{caught.value!r}{storage!r}{storage.client!r}"


INSECURE = [
    {"api_url": "http://user:secret@node.example.com:5001/api/v0/"},
    {"api_url": "http://node.example.com:5001/api/v0/", "auth": "secret"},
    {"api_url": "http://10.0.0.1:5001/api/v0/", "auth": ("user", "secret")},
    {"api_url": "http://node.example.com/", "headers": {"authorization": "Bearer secret"}},
]


@pytest.mark.parametrize("options", INSECURE)
def test_credentials_are_not_sent_in_the_clear_to_another_host(options):
    with pytest.raises(ImproperlyConfigured, match="use https://") as caught:
        IPFSStorage(**options)
    assert "secret" not in str(caught.value)
    IPFSStorage(**{**options, "api_url": options["api_url"].replace("http://", "https://")})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.10", "[::1]", "ipfs.localhost"])
def test_credentials_may_stay_on_this_machine(host):
    assert IPFSStorage(f"http://user:secret@{host}:5001/api/v0/").api_url.startswith("http://user:secret@")


def test_https_is_never_made_http(fake):
    storage = IPFSStorage(fake.api_url.replace("http://", "https://"), auth="secret", max_attempts=1)
    with pytest.raises(ConnectionError):
        storage.exists(HELLO)
    assert fake.requests == []


@pytest.mark.parametrize(
    "arguments", [("https://user:secret@node.example.com/api/v0/", "https://gateway.example.com/")]
)
def test_migration_holds_no_secret(arguments):
    storage = IPFSStorage(*arguments, auth="secret")
    assert storage.deconstruct() == (
        "storages.backends.ipfs.IPFSStorage",
        (),
        {"gateway_url": "https://gateway.example.com/"},
    )
    assert "secret" not in MigrationWriter.serialize(storage)[0] + repr(storage)


# Options

WRONG = {
    "no scheme": ({"api_url": "localhost:5001"}, "begins with https:// or http://"),
    "multiaddress": ({"api_url": "/ip4/127.0.0.1/tcp/5001"}, "begins with https:// or http://"),
    "unknown version": ({"cid_version": 2}, "must be one of 0, 1"),
    "unknown mode": ({"delete_mode": "erase"}, "must be one of 'unpin', 'noop'"),
    "unknown option": ({"gateway": "x"}, "did you mean 'gateway_url'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_option_is_told(case):
    options, message = WRONG[case]
    with pytest.raises(ImproperlyConfigured, match=message):
        IPFSStorage(**options)


def test_path_of_the_api_may_be_left_out(fake):
    assert not IPFSStorage(f"http://{HOST}:{fake.port}").exists(HELLO)


def test_url_without_an_api_is_told(fake):
    with pytest.raises(ImproperlyConfigured, match="IPFS_STORAGE_API_URL"):
        IPFSStorage(f"http://{HOST}:{fake.port}/other/").exists(HELLO)


# Other nodes, archives


def test_remote_service_pins_too(fake):
    storage = IPFSStorage(fake.api_url, pinning_service="vault")
    name = save(storage)
    assert fake.remote["vault"] == {HELLO: "hello.txt"}
    storage.delete(name)
    assert fake.remote["vault"] == {}


def test_unknown_remote_service_is_an_error(fake):
    with pytest.raises(RPCError, match="service not known: volt"):
        save(IPFSStorage(fake.api_url, pinning_service="volt"))


@pytest.mark.js_ipfs
def test_archive_brings_a_file_back(js_ipfs, tmp_path):
    storage = IPFSStorage(js_ipfs.api_url)
    name = save(storage, pattern(600_000))
    archive = tmp_path / f"{name}.car"
    with storage.client.export_car(name) as car, archive.open("wb") as target:
        shutil.copyfileobj(car, target)
    storage.delete(name)
    storage.client.call("repo/gc")
    with archive.open("rb") as car:
        assert storage.client.import_car(car) == [name]
    assert storage.exists(name)
    assert read(storage, name) == pattern(600_000)


@pytest.fixture
def in_settings(fake, settings):
    settings.STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
        "ipfs": {"BACKEND": "storages.backends.ipfs.IPFSStorage", "OPTIONS": {"api_url": fake.api_url}},
    }
    return storages["ipfs"]


def test_backup_command_writes_what_is_not_there_yet(in_settings, fake, tmp_path):
    first = save(in_settings, b"one")
    call_command("ipfs_backup", tmp_path, storage="ipfs")
    second = save(in_settings, b"two")
    said = io.StringIO()
    call_command("ipfs_backup", tmp_path, storage="ipfs", stdout=said)
    assert said.getvalue() == f"1 archives written to {tmp_path}\n"
    archives = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert archives == {f"{first}.car": b"not a real archive of one", f"{second}.car": b"not a real archive of two"}


def test_backup_that_breaks_off_leaves_no_archive(in_settings, fake, tmp_path):
    name = save(in_settings, b"one")
    fake.faults.append(("dag/export", 500, "a block got lost"))
    with pytest.raises(RPCError, match="a block got lost"):
        call_command("ipfs_backup", tmp_path, storage="ipfs")
    assert not (tmp_path / f"{name}.car").exists()


@pytest.mark.parametrize(
    ("directory", "storage", "advice"),
    [
        ("", "other", "STORAGES has no 'other'"),
        ("", "default", "no IPFSStorage"),
        ("missing", "ipfs", "create it first"),
    ],
)
def test_backup_command_says_what_is_wrong(in_settings, tmp_path, directory, storage, advice):
    with pytest.raises(CommandError, match=advice):
        call_command("ipfs_backup", tmp_path / directory, storage=storage)


# Faults


def test_source_that_breaks_raises_its_own_error(node):
    class Broken(Endless):
        def readinto(self, target):
            if self.left < 20 * MIB:
                raise OSError("the source broke half-way")
            return super().readinto(target)

    storage = IPFSStorage(node.api_url)
    before = sorted(entry.name for entry in storage.walk())
    with pytest.raises(OSError, match="the source broke half-way"):
        storage.save("broken.bin", File(Broken()))
    assert sorted(entry.name for entry in storage.walk()) == before


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_busy_node_is_asked_again(storage, fake, monkeypatch, status):
    monkeypatch.setattr(module, "PAUSE", 0.01)
    fake.faults += [("add", status, "busy"), ("cat", status, "busy")]
    assert read(storage, save(storage)) == b"hello world"


def test_node_that_stays_busy_is_given_up(wire, fake, monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.01)
    fake.faults += [("pin/ls", 503, "busy")] * 2
    storage = IPFSStorage(f"{wire.url}/api/v0/", max_attempts=2)
    with wire.counting() as seen, pytest.raises(RPCError, match="busy"):
        storage.exists(HELLO)
    assert len(seen) == 2


def test_upload_that_cannot_be_rewound_is_sent_once(storage, wire, fake):
    fake.faults.append(("add", 503, "busy"))
    with wire.counting() as seen, pytest.raises(RPCError):
        storage.save("long.bin", File(Endless()))
    assert calls(seen) == ["add"]


def test_answer_that_breaks_off_is_asked_for_again(storage, fake):
    name = save(storage, pattern(600_000))
    fake.cut = 100_000
    assert read(storage, name) == pattern(600_000)


def test_range_that_breaks_off_is_an_error(storage, fake):
    name = save(storage, pattern(600_000))
    fake.cut = 100_000
    with (
        pytest.raises(ConnectionError, match="400000 bytes before its end"),
        storage.open_range(name, 0, 500_000) as body,
    ):
        body.read()


VERBS = {
    "exists": lambda storage: storage.exists(HELLO),
    "size": lambda storage: storage.size(HELLO),
    "open": lambda storage: storage.open(HELLO),
    "save": save,
    "save long": lambda storage: save(storage, pattern(12 * MIB)),
    "delete": lambda storage: storage.delete(HELLO),
    "listdir": lambda storage: storage.listdir(""),
}


@pytest.mark.parametrize("verb", VERBS)
def test_stalled_node_is_a_timeout_and_the_next_call_works(wire, verb):
    storage = IPFSStorage(f"{wire.url}/api/v0/", **HASTY)
    save(storage)
    wire.mute()
    with pytest.raises(TimeoutError):
        VERBS[verb](storage)
    wire.heal()
    assert read(storage, HELLO) == b"hello world"


@pytest.mark.parametrize("verb", VERBS)
def test_refused_connection_is_an_error_and_the_next_call_works(wire, verb):
    storage = IPFSStorage(f"{wire.url}/api/v0/", **HASTY)
    save(storage)
    wire.refuse()
    with pytest.raises(ConnectionError, match="IPFS_STORAGE_API_URL"):
        VERBS[verb](storage)
    wire.heal()
    assert read(storage, HELLO) == b"hello world"


def test_connection_that_went_idle_is_made_anew(storage, wire):
    name = save(storage)
    wire.drop_idle()
    assert save(storage) == name
    wire.drop_idle()
    assert storage.exists(name)


@pytest.mark.parametrize("size", [3 * MIB, 12 * MIB])
def test_upload_that_breaks_off_is_sent_again_or_an_error(storage, wire, fake, size):
    wire.reset(up=2 * MIB)
    result = outcome(save, storage, pattern(size))
    assert list(fake.pins) == ([cid_of(pattern(size))] if result is None else [])
    assert result is None or isinstance(result, ConnectionError)
    assert (result is None) is (size < storage.part_size)


def test_redirect_is_not_followed(storage, fake):
    fake.faults.append(("pin/ls", 302, "moved"))
    assert isinstance(outcome(storage.exists, HELLO), RPCError)
    assert len(fake.requests) == 1
