"""What a browser may do with what AzureStorage signs, on azurite, which enforces signatures, times and permissions.

It does not look at the addresses that a SAS is for, and like Azure at no size and no type: those are looked at when an
upload is over, and the storage says so.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, CorsRule, generate_blob_sas
from django.core.files.base import ContentFile
from django.utils import timezone

from storages.backends.azure_storage import LARGEST_BLOCK, LARGEST_PUT, MOST_BLOCKS, AzureStorage
from storages.contract import Enforced, PartsMissing, Received, SignedRequest, UploadLimits, UploadTerms
from tests.conftest import running
from tests.servers.azurite import Azurite
from tests.test_azure_urls import Identity, clock, given, signature, storage_with
from tests.uploads.sending import break_off, send

TERMS = UploadTerms(size=3, content_type="image/png", seconds=300)
CONTENT = bytes(range(250))
LONG = UploadTerms(len(CONTENT), "video/x-mine", 300, part_size=100)  # 100, 100 and 50
PIECES = {1: CONTENT[:100], 2: CONTENT[100:200], 3: CONTENT[200:]}
NAMES = ["a.png", "dir/with space.png", "100%25.png", "文件 é.png"]

__all__ = ["clock", "given"]  # fixtures


@pytest.fixture(scope="module")
def azurite(request):
    yield from running(Azurite(), request.config)


@pytest.fixture
def storage(azurite):
    return made(azurite)


def made(azurite, **options: Any) -> AzureStorage:
    given = {"connection_string": azurite.connection_string(), "azure_container": azurite.make_bucket()}
    return AzureStorage(**{**given, **options})


def query_of(request: SignedRequest) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}


def recomputed(query: dict[str, str], resource: str, secret: bytes) -> str:
    """Make the signature as learn.microsoft.com/rest/api/storageservices/create-service-sas says."""
    first = [query["sp"], query.get("st", ""), query["se"], resource, query.get("si", "")]
    last = [query.get("sip", ""), query.get("spr", ""), query["sv"], query["sr"], "", query.get("ses", "")]
    overrides = [query.get(name, "") for name in ("rscc", "rscd", "rsce", "rscl", "rsct")]
    digest = hmac.digest(secret, "\n".join([*first, *last, *overrides]).encode(), hashlib.sha256)
    return base64.b64encode(digest).decode()


def read(storage, name: str) -> bytes:
    with storage.open(name) as file:
        return file.read()


# What is offered

BLOCKS = UploadLimits(LARGEST_BLOCK * MOST_BLOCKS, largest_part=LARGEST_BLOCK, most_parts=MOST_BLOCKS)


@pytest.mark.threat("T-25")
def test_service_keeps_neither_size_nor_type_and_that_is_said():
    assert storage_with().upload_kinds == {
        "put": Enforced("finish", "finish", "none", "denied", UploadLimits(LARGEST_PUT)),
        "blocks": Enforced("finish", "finish", "none", "promote", BLOCKS),
    }


@pytest.mark.parametrize(
    "options",
    [
        {"account_key": None, "sas_token": "sv=2022-11-02&sr=c&sp=c&se=2100-01-01&sig=ab%2Fcd"},
        {"account_key": None, "sas_token": "sp=c&sig=x", "token_credential": Identity()},
        {"account_key": None},
        {"account_key": None, "connection_string": "AccountName=mine;SharedAccessSignature=sp=c&sig=x"},
    ],
)
@pytest.mark.threat("T-33")
def test_token_of_the_settings_is_never_passed_on(options):
    """Not even one that permits just this: it opens the container."""
    storage = storage_with(**options)
    assert storage.upload_kinds == {}
    with pytest.raises(ValueError, match="offers none"):
        storage.presign_upload("a.png", "put", TERMS)


class Shaping(AzureStorage):
    def _get_content_settings_parameters(self, name, content=None):
        return {"cache_control": "no-cache"}


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (AzureStorage, {"cache_control": "no-cache"}),
        (AzureStorage, {"object_parameters": {"content_disposition": "attachment"}}),
        (Shaping, {}),
    ],
)
def test_headers_that_a_sas_cannot_say_are_given_by_a_copy(cls, options):
    storage = cls(account_name="mine", account_key="a2V5", azure_container="files", **options)
    assert storage.upload_kinds["put"].overwrite == "promote"


# put


@pytest.mark.threat("T-22")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("location", ["", "site/media/"])
def test_sas_is_for_one_blob_and_for_making_it(clock, location, name):
    request = storage_with(location=location).presign_upload(name, "put", TERMS)
    query = query_of(request)
    key = location + name
    assert unquote(urlsplit(request.url).path) == f"/files/{key}"
    assert {field: query[field] for field in query.keys() - {"sig", "sv"}} == {
        "sp": "c",
        "sr": "b",
        "spr": "https",
        "se": "2026-11-20T12:05:00Z",
    }
    assert query["sig"] == recomputed(query, f"/blob/mine/files/{key}", b"an account key")
    assert (request.method, request.headers) == ("PUT", {"x-ms-blob-type": "BlockBlob", "Content-Type": "image/png"})


@pytest.mark.parametrize("permission", ["c", "w"])
def test_sas_is_the_sdks(clock, monkeypatch, permission):
    storage = storage_with()
    if permission == "c":
        request = storage.presign_upload("dir/a b.png", "put", TERMS)
    else:
        request = storage.presign_part("dir/a b.png", "blocks", "0" * 32, 1, LONG)
    query = query_of(request)
    monkeypatch.setattr("azure.storage.blob._shared_access_signature.X_MS_VERSION", query["sv"])
    end = clock.now + datetime.timedelta(seconds=300)
    secret = {"account_key": base64.b64encode(b"an account key").decode(), "protocol": "https"}
    theirs = generate_blob_sas("mine", "files", "dir/a b.png", permission=permission, expiry=end, **secret)
    ours = {name: value for name, value in query.items() if name not in ("comp", "blockid")}
    assert ours == {name: values[0] for name, values in parse_qs(theirs).items()}


def test_delegation_key_signs_uploads(given, clock):
    storage = storage_with(account_key=None, token_credential=Identity())
    query = query_of(storage.presign_upload("a.png", "put", TERMS))
    assert query["sig"] == signature(query, "/blob/mine/files/a.png", b"delegated 1")
    assert (query["sp"], query["sr"], query["spr"], query["se"]) == ("c", "b", "https", "2026-11-20T12:05:00Z")


def test_host_of_other_urls_takes_no_uploads():
    storage = storage_with(custom_domain="cdn.example.com")
    assert urlsplit(storage.presign_upload("a.png", "put", TERMS).url).netloc == "mine.blob.core.windows.net"


@pytest.mark.parametrize(
    ("options", "protocols"),
    [
        ({}, ["https"]),
        ({"azure_ssl": False}, None),
        ({"connection_string": "UseDevelopmentStorage=true"}, None),
        ({"is_emulated": True}, None),
    ],
)
def test_signature_holds_over_tls_only_where_the_address_has_it(options, protocols):
    request = storage_with(**options).presign_upload("a.png", "put", TERMS)
    assert parse_qs(urlsplit(request.url).query).get("spr") == protocols
    assert urlsplit(request.url).scheme == ("https" if protocols else "http")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("location", ["", "site/media/"])
def test_put_makes_the_blob(azurite, location, name):
    storage = made(azurite, location=location)
    assert send(storage.presign_upload(name, "put", TERMS), b"abc").status == 201
    assert read(storage, name) == b"abc"
    assert (storage.size(name), storage.stat(name).content_type) == (3, "image/png")


def bent(url: str, old: str, new: str) -> str:
    assert old in url
    return url.replace(old, new)


def with_permission(url: str, permission: str) -> dict[str, str]:
    return {"url": bent(url, "sp=c", f"sp={permission}")}


def on_component(url: str, component: str, **headers: str) -> dict[str, Any]:
    # With the header of a blob, azurite would take it for a new one.
    return {"url": f"{url}&comp={component}", "headers": {"x-ms-blob-type": None, **headers}}


# What becomes of the request, and the answer.
TAMPERED: dict[str, tuple[Any, int]] = {
    "another blob": (lambda r: {"url": bent(r.url, "/a.png?", "/b.png?")}, 403),
    "a blob below": (lambda r: {"url": bent(r.url, "/a.png?", "/a.png/b?")}, 403),
    "another container": (lambda r: {"url": bent(r.url, "/test-", "/tesu-")}, 403),
    "permission to write": (lambda r: with_permission(r.url, "cw"), 403),
    "permission to delete": (lambda r: with_permission(r.url, "cd"), 403),
    "a longer life": (lambda r: {"url": bent(r.url, "se=20", "se=21")}, 403),
    "the whole container": (lambda r: {"url": bent(r.url, "sr=b", "sr=c")}, 403),
    "another signature": (lambda r: {"url": bent(r.url, "sig=", "sig=A")}, 403),
    "no signature": (lambda r: {"url": r.url.partition("?")[0]}, 403),
    "a response header": (lambda r: {"url": f"{r.url}&rsct=text%2Fhtml"}, 403),
    "a block": (lambda r: {"url": f"{r.url}&comp=block&blockid=QUFB"}, 403),
    "a list of blocks": (lambda r: on_component(r.url, "blocklist"), 403),
    "a lease": (lambda r: on_component(r.url, "lease", **{"x-ms-lease-action": "acquire"}), 403),
    "properties": (lambda r: on_component(r.url, "properties"), 403),
    "metadata": (lambda r: on_component(r.url, "metadata"), 403),
    "tags": (lambda r: on_component(r.url, "tags"), 403),
    "a tier": (lambda r: on_component(r.url, "tier", **{"x-ms-access-tier": "Archive"}), 403),
    "GET": (lambda r: {"method": "GET"}, 403),
    "HEAD": (lambda r: {"method": "HEAD"}, 403),
    "DELETE": (lambda r: {"method": "DELETE"}, 403),
    "another key's signature": (lambda r: {"url": bent(r.url, r.url.partition("sig=")[2], "QUFB")}, 403),
}


@pytest.mark.threat("T-22")
@pytest.mark.parametrize(("change", "status"), TAMPERED.values(), ids=TAMPERED)
def test_changed_put_is_refused(storage, change, status):
    request = storage.presign_upload("a.png", "put", TERMS)
    assert send(request, b"abc", **change(request)).status == status
    assert list(storage.walk()) == []
    assert send(request, b"abc").status == 201  # it was the change


@pytest.mark.threat("T-33")
@pytest.mark.parametrize(
    "elsewhere",
    ["?comp=list", "?restype=service&comp=properties", "/{container}?restype=container&comp=list", "/{container}/b"],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_sas_opens_nothing_else_in_the_account(storage, azurite, elsewhere, method):
    storage.save("b", ContentFile(b"theirs"))
    request = storage.presign_upload("a.png", "put", TERMS)
    place = elsewhere.format(container=storage.client.container_name)
    sas = urlsplit(request.url).query
    answer = send(request, method=method, url=f"{azurite.endpoint_url}{place}{'&' if '?' in place else '?'}{sas}")
    assert answer.status in (400, 403)
    assert read(storage, "b") == b"theirs"


@pytest.mark.threat("T-22")
@pytest.mark.parametrize("kind", ["put", "blocks"])
def test_signature_ends(storage, monkeypatch, kind):
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now - datetime.timedelta(seconds=310))
    if kind == "put":
        late = storage.presign_upload("a.png", "put", TERMS)
    else:
        late = storage.presign_part("a.png", "blocks", storage.open_upload("a.png", "blocks", LONG), 1, LONG)
    assert send(late, b"abc").status == 403
    assert list(storage.walk()) == []


@pytest.mark.threat("T-24")
def test_second_put_changes_nothing(storage):
    request = storage.presign_upload("a.png", "put", TERMS)
    assert [send(request, body).status for body in (b"abc", b"xyz")] == [201, 403]
    assert send(storage.presign_upload("a.png", "put", TERMS), b"xyz").status == 403
    # Nor by another way of writing.
    append = {"x-ms-blob-type": "AppendBlob"}
    copy = {"x-ms-blob-type": None, "x-ms-copy-source": storage.client.get_blob_client("a.png").url}
    for headers in (append, copy):
        assert send(request, headers=headers).status == 403
    assert read(storage, "a.png") == b"abc"


# What neither azurite nor Azure looks at, so that it is looked at when the upload is over: body, headers, what is told.
UNCHECKED: dict[str, tuple[bytes, dict[str, str], tuple[int, str]]] = {
    "a byte more": (b"abcd", {}, (4, "image/png")),
    "nothing": (b"", {}, (0, "image/png")),
    "a hundred times as much": (b"abc" * 100, {}, (300, "image/png")),
    "another type": (b"abc", {"Content-Type": "text/html"}, (3, "text/html")),
    "another type by the service's header": (b"abc", {"x-ms-blob-content-type": "text/html"}, (3, "text/html")),
    "another kind of blob": (b"", {"x-ms-blob-type": "AppendBlob"}, (0, "image/png")),
}


@pytest.mark.threat("T-25")
@pytest.mark.parametrize(("body", "headers", "told"), UNCHECKED.values(), ids=UNCHECKED)
def test_what_the_service_does_not_look_at_shows_in_stat(storage, body, headers, told):
    assert send(storage.presign_upload("a.png", "put", TERMS), body, headers=headers).status == 201
    stat = storage.stat("a.png")
    assert (stat.size, stat.content_type) == told
    assert told != (3, "image/png")


def test_permission_to_create_is_permission_to_copy_what_one_may_read(storage):
    """It makes a blob as well, and none that is there already; its size and its type show in stat()."""
    storage.save("page.html", ContentFile(b"<html>"))
    source = storage.url("page.html", 60)
    headers = {"x-ms-blob-type": None, "x-ms-copy-source": source}
    assert send(storage.presign_upload("a.png", "put", TERMS), headers=headers).status == 202
    stat = storage.stat("a.png")
    assert (stat.size, stat.content_type) == (6, "text/html")


def test_permission_to_create_is_permission_to_take_snapshots(storage):
    """Which keep the blob from being deleted without them."""
    request = storage.presign_upload("a.png", "put", TERMS)
    send(request, b"abc")
    assert send(request, url=f"{request.url}&comp=snapshot", headers={"x-ms-blob-type": None}).status == 201
    with pytest.raises(HttpResponseError, match="SnapshotsPresent"):
        storage.delete("a.png")


def test_azurite_does_not_look_at_addresses(azurite, storage):
    """So that a SAS for one address is proven by its signature only."""
    end = timezone.now() + datetime.timedelta(minutes=5)
    sas = storage._sign("a.png", "c", end, {"ip": "10.1.2.3"})
    query = {name: values[0] for name, values in parse_qs(sas).items()}
    assert query["sip"] == "10.1.2.3"
    request = storage.presign_upload("a.png", "put", TERMS)
    assert send(request, b"abc", url=f"{request.url.partition('?')[0]}?{sas}").status == 201


def test_azurite_takes_tags_without_the_permission_that_azure_wants(storage):
    """Azure answers 403 to x-ms-tags unless the SAS has the letter t (kahing/goofys, pull request 816)."""
    request = storage.presign_upload("a.png", "put", TERMS)
    assert "t" not in query_of(request)["sp"]
    assert send(request, b"abc", headers={"x-ms-tags": "a=b"}).status == 201


def test_browser_of_another_origin_is_let_in_by_cors_only(azurite, storage):
    rule = CorsRule(["https://page.example.com"], ["PUT"], allowed_headers=["content-type", "x-ms-blob-type"])
    with azurite.client() as service:
        service.set_service_properties(cors=[rule])
    try:
        request = storage.presign_upload("a.png", "put", TERMS)
        asked = {
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "content-type,x-ms-blob-type",
        }
        statuses = [
            send(request, method="OPTIONS", headers={**asked, "Origin": origin}).status
            for origin in ("https://page.example.com", "https://evil.example.com")
        ]
        answer = send(request, b"abc", headers={"Origin": "https://page.example.com"})
    finally:
        with azurite.client() as service:
            service.set_service_properties(cors=[])
    assert statuses == [200, 403]
    assert answer.headers["Access-Control-Allow-Origin"] == "https://page.example.com"


# blocks


@pytest.fixture
def state(storage):
    return storage.open_upload("v.mp4", "blocks", LONG)


def part(storage, state: str, number: int) -> SignedRequest:
    return storage.presign_part("v.mp4", "blocks", state, number, LONG)


def put(storage, state: str, *numbers: int) -> None:
    for number in numbers:
        assert send(part(storage, state, number), PIECES[number]).status == 201


def close(storage, state: str) -> None:
    storage.close_upload("v.mp4", "blocks", state, LONG)


def arrived(storage, state: str) -> list[Received]:
    return storage.received_parts("v.mp4", "blocks", state)


@pytest.mark.threat("T-22")
def test_sas_of_a_part_is_for_writing_one_blob(clock):
    storage = storage_with(location="site")
    state = storage.open_upload("v.mp4", "blocks", LONG)
    request = storage.presign_part("v.mp4", "blocks", state, 2, LONG)
    query = query_of(request)
    assert {field: query[field] for field in query.keys() - {"sig", "sv", "blockid"}} == {
        "sp": "w",
        "sr": "b",
        "spr": "https",
        "se": "2026-11-20T12:05:00Z",
        "comp": "block",
    }
    assert query["sig"] == recomputed(query, "/blob/mine/files/site/v.mp4", b"an account key")
    assert base64.b64decode(query["blockid"]).decode() == f"{state}00000000000002"
    assert (request.method, request.headers) == ("PUT", {})


def test_uploads_of_one_name_do_not_share_blocks():
    storage = storage_with()
    assert len({storage.open_upload("v.mp4", "blocks", LONG) for _ in range(100)}) == 100


@pytest.mark.threat("T-35")
@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 2, 3, 1, 1)])
def test_blocks_become_one_blob_whatever_their_order(storage, state, order):
    put(storage, state, *order)
    assert list(storage.walk()) == []  # nothing shows before
    close(storage, state)
    assert read(storage, "v.mp4") == CONTENT
    assert storage.stat("v.mp4").content_type == "video/x-mine"


def test_upload_goes_on_with_what_is_missing(storage, state):
    put(storage, state, 1)
    break_off(part(storage, state, 2), PIECES[2], 40, {})
    assert arrived(storage, state) == [Received(1, 100)]
    put(storage, state, 3, 2)
    assert arrived(storage, state) == [Received(1, 100), Received(2, 100), Received(3, 50)]
    close(storage, state)
    assert read(storage, "v.mp4") == CONTENT


def test_nothing_has_arrived_at_first(storage, state):
    assert arrived(storage, state) == []


@pytest.mark.threat("T-40")
def test_part_can_be_signed_again_at_any_time(storage, state, monkeypatch):
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now - datetime.timedelta(hours=3))
    stale = part(storage, state, 1)
    monkeypatch.undo()
    assert send(stale, PIECES[1]).status == 403
    put(storage, state, 1, 2, 3)
    close(storage, state)
    assert read(storage, "v.mp4") == CONTENT


@pytest.mark.threat("T-25")
@pytest.mark.parametrize(
    ("pieces", "missing"),
    [
        ({}, [1, 2, 3]),
        ({1: PIECES[1], 3: PIECES[3]}, [2]),
        ({**PIECES, 2: PIECES[2] + b"!"}, [2]),
        ({**PIECES, 3: b"short"}, [3]),
        ({1: PIECES[2] + PIECES[3], 2: PIECES[2], 3: b""}, [1, 3]),
    ],
)
def test_blocks_are_not_committed_unless_all_have_their_size(storage, state, pieces, missing):
    for number, piece in pieces.items():
        send(part(storage, state, number), piece)
    with pytest.raises(PartsMissing) as error:
        close(storage, state)
    assert error.value.numbers == missing
    assert list(storage.walk()) == []
    put(storage, state, *missing)
    close(storage, state)
    assert read(storage, "v.mp4") == CONTENT


@pytest.mark.parametrize("suffix", ["9" * 14, "x" * 14, "²" * 7, "00000000000004"])
def test_blocks_that_nobody_asked_for_are_dropped(storage, state, suffix):
    put(storage, state, 1, 2, 3)
    url = part(storage, state, 1).url.partition("&blockid=")[0]
    identity = base64.urlsafe_b64encode(f"{state}{suffix}".encode()).decode()
    assert send(part(storage, state, 1), b"more", url=f"{url}&blockid={identity}").status in (201, 400)
    ours = [one for one in arrived(storage, state) if one.number in PIECES]
    assert ours == [Received(1, 100), Received(2, 100), Received(3, 50)]
    close(storage, state)
    assert read(storage, "v.mp4") == CONTENT


def test_closing_twice_is_silent(storage, state):
    put(storage, state, 1, 2, 3)
    for _ in range(2):
        close(storage, state)
    assert read(storage, "v.mp4") == CONTENT


@pytest.mark.threat("T-24")
def test_closing_replaces_nothing(storage, state):
    put(storage, state, 1, 2, 3)
    written = part(storage, state, 1)
    whole = {"x-ms-blob-type": "BlockBlob"}
    blob = storage.client.get_blob_client("v.mp4")
    assert send(written, b"mine", url=written.url.partition("&comp=")[0], headers=whole).status == 201
    with pytest.raises((FileExistsError, PartsMissing)):
        close(storage, state)
    with blob:
        assert blob.download_blob().readall() == b"mine"


@pytest.mark.threat("T-24")
def test_commit_comes_to_nothing_where_another_was_first(storage, state, monkeypatch):
    put(storage, state, 1, 2, 3)
    found = storage._blocks("v.mp4")
    with storage.client.get_blob_client("v.mp4") as blob:
        blob.commit_block_list([BlobBlock(found[1][0].id)])
        before = blob.download_blob().readall()
        monkeypatch.setattr(storage, "_blocks", lambda key: found)
        with pytest.raises(FileExistsError):
            close(storage, state)
        assert blob.download_blob().readall() == before


@pytest.mark.threat("T-24")
def test_sas_of_a_part_lives_on_which_is_why_the_blob_is_only_copied_from(storage, state):
    assert storage.upload_kinds["blocks"].overwrite == "promote"
    put(storage, state, 1, 2, 3)
    late = part(storage, state, 1)
    close(storage, state)
    checked = storage.stat("v.mp4").etag
    storage.copy("v.mp4", "final.mp4")
    whole = {"x-ms-blob-type": "BlockBlob"}
    assert send(late, b"swapped", url=late.url.partition("&comp=")[0], headers=whole).status == 201
    assert storage.stat("v.mp4").etag != checked
    assert read(storage, "final.mp4") == CONTENT


BEYOND: dict[str, dict[str, Any]] = {
    "GET": {"method": "GET"},
    "DELETE": {"method": "DELETE"},
    "what has arrived": {"method": "GET", "with": "&comp=blocklist&blocklisttype=all"},
    "another blob": {"named": "other.mp4"},
}


@pytest.mark.threat("T-22")
@pytest.mark.parametrize("use", BEYOND.values(), ids=BEYOND)
def test_sas_of_a_part_permits_neither_reading_nor_deleting_nor_another_blob(storage, state, use):
    put(storage, state, 1)
    request = part(storage, state, 1)
    url = request.url.partition("&comp=")[0] + use.get("with", "")
    url = url.replace("/v.mp4?", f"/{use.get('named', 'v.mp4')}?")
    headers = {"x-ms-blob-type": "BlockBlob"}
    assert send(request, b"x", method=use.get("method"), url=url, headers=headers).status == 403
    assert arrived(storage, state) == [Received(1, 100)]


@pytest.mark.threat("T-33")
def test_grants_hold_no_key(azurite, storage, state):
    requests = [storage.presign_upload("a.png", "put", TERMS), part(storage, state, 1)]
    said = unquote(repr([request.__dict__ for request in requests]))
    assert azurite.account_key not in said
    assert [request for request in requests if "sig=" in repr(request)] == []


# Giving up


@pytest.mark.parametrize("numbers", [(), (1,), (1, 2, 3)])
def test_abandoned_blocks_are_gone_at_once(storage, state, numbers):
    put(storage, state, *numbers)
    for _ in range(2):
        storage.abandon_upload("v.mp4", "blocks", state)
    assert arrived(storage, state) == []
    assert list(storage.walk()) == []
    with storage.client.get_blob_client("v.mp4") as blob, pytest.raises(HttpResponseError):
        blob.get_block_list("all")


def test_giving_up_leaves_a_blob_that_is_there(storage, state):
    put(storage, state, 1, 2, 3)
    close(storage, state)
    storage.abandon_upload("v.mp4", "blocks", state)
    assert read(storage, "v.mp4") == CONTENT


@pytest.mark.parametrize("deed", ["received_parts", "abandon_upload"])
def test_missing_container_is_no_missing_upload(azurite, deed):
    storage = made(azurite, azure_container="nowhere")
    with pytest.raises(Exception, match="nowhere") as error:
        getattr(storage, deed)("v.mp4", "blocks", "0" * 32)
    assert not isinstance(error.value, FileNotFoundError)
