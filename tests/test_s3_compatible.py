"""S3Storage on services other than AWS: the recipes of the docs, and stores that know less than S3."""

from __future__ import annotations

import ast
import io
import re
import threading
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.awsrequest import AWSResponse
from django.core.files.base import ContentFile
from django.core.files.storage.handler import StorageHandler

from storages.backends.s3 import S3Storage

MIB = 1024**2
KEYS = {"access_key": "AKID", "secret_key": "SECRET"}
PAGE = (Path(__file__).parent.parent / "docs" / "s3-compatible.rst").read_text()
BLOCK = re.compile(r"^\.\. code-block:: python\n    :name: recipe-(\w+)\n\n((?:    .*\n|\n)+)", re.MULTILINE)
RECIPES = {name: ast.literal_eval(text.strip()) for name, text in BLOCK.findall(PAGE)}

# What each service documents: start of a URL, region of the signature, whether it takes If-None-Match (None: ask it).
EXPECTED = {
    "r2": ("https://ACCOUNT-ID.r2.cloudflarestorage.com/media/", "auto", True),
    "b2": ("https://s3.us-west-004.backblazeb2.com/media/", "us-west-004", False),
    "spaces": ("https://media.nyc3.digitaloceanspaces.com/", "nyc3", None),
    "minio": ("https://minio.example.com:9000/media/", "us-east-1", True),
    "ceph": ("https://rgw.example.com/media/", "us-east-1", None),
    "oracle": ("https://NAMESPACE.compat.objectstorage.us-ashburn-1.oraclecloud.com/media/", "us-ashburn-1", None),
    "scaleway": ("https://media.s3.fr-par.scw.cloud/", "fr-par", None),
    "seaweedfs": ("http://127.0.0.1:8333/media/", "us-east-1", True),
}


def built(recipe, **options):
    """Return what Django makes of a recipe in STORAGES."""
    block = {**recipe, "OPTIONS": {**recipe["OPTIONS"], **KEYS, **options}}
    return StorageHandler({"media": block})["media"]


def test_page_has_a_recipe_for_every_service():
    assert RECIPES.keys() == EXPECTED.keys()


@pytest.mark.parametrize("service", EXPECTED)
def test_recipe_leads_to_the_service(service):
    start, region, create_only = EXPECTED[service]
    storage = built(RECIPES[service])
    url = storage.url("dir/a b.txt")
    assert url.startswith(f"{start}dir/a%20b.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&")
    assert parse_qs(urlsplit(url).query)["X-Amz-Credential"][0].split("/")[2] == region
    assert storage.create_only is create_only


@pytest.mark.parametrize("service", EXPECTED)
def test_recipe_sends_no_checksum_that_is_not_required(service):
    config = built(RECIPES[service]).client.meta.config
    assert (config.request_checksum_calculation, config.response_checksum_validation) == ("when_required",) * 2


@pytest.mark.parametrize("service", ["seaweedfs", "ceph"])
def test_recipe_works_on_the_real_server(service, request):
    server = request.getfixturevalue(service)
    storage = built(
        RECIPES[service],
        bucket_name=server.make_bucket(),
        endpoint_url=server.endpoint_url,
        access_key=server.access_key,
        secret_key=server.secret_key,
        file_overwrite=False,
    )
    assert storage.save("dir/a b.txt", ContentFile(b"one")) == "dir/a b.txt"
    assert storage.save("dir/a b.txt", ContentFile(b"two")) != "dir/a b.txt"
    with storage.open("long.bin", "wb") as file:
        file.write(b"x" * 9 * MIB)
    with urllib.request.urlopen(storage.url("dir/a b.txt"), timeout=30) as answer:
        assert answer.read() == b"one"
    directories, files = storage.listdir("")
    assert (directories, files) == (["dir"], ["long.bin"])
    names = [entry.name for entry in storage.walk()]
    assert len(names) == 3
    storage.delete_many(names)
    assert list(storage.walk()) == []


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_endpoint_of_the_environment_counts_as_one(monkeypatch, variable):
    monkeypatch.setattr("storages.process._shared", {})
    monkeypatch.setenv(variable, "https://s3.example.com")
    storage = S3Storage(bucket_name="media", region_name="us-east-1", **KEYS)
    assert storage.url("a.txt").startswith("https://s3.example.com/media/a.txt?")
    assert storage.client.meta.config.request_checksum_calculation == "when_required"


# Stores without conditional writes


def refuse_conditions(client):
    """Answer a conditional write as Backblaze B2 does."""
    body = b"<Error><Code>NotImplemented</Code><Message>A header you provided is not implemented</Message></Error>"

    class Raw(io.BytesIO):
        def stream(self, **kwargs):
            yield self.read()

    def answer(request, **kwargs):
        if {"If-None-Match", "If-Match"} & set(request.headers):
            return AWSResponse(request.url, 501, {}, Raw(body))

    for operation in ("PutObject", "CompleteMultipartUpload"):
        client.meta.events.register(f"before-send.s3.{operation}", answer)


def ignore_conditions(client):
    """Send conditions to nowhere, as to a store that never heard of them."""

    def drop(params, **kwargs):
        params["headers"].pop("If-None-Match", None)
        params["headers"].pop("If-Match", None)

    for operation in ("PutObject", "CompleteMultipartUpload"):
        client.meta.events.register(f"before-call.s3.{operation}", drop)


@pytest.fixture
def make(seaweedfs, wire, monkeypatch):
    monkeypatch.setattr("storages.process._shared", {})  # what one test finds out is not for the next
    bucket = seaweedfs.make_bucket()

    def make(**options):
        keys = {"access_key": seaweedfs.access_key, "secret_key": seaweedfs.secret_key}
        return S3Storage(bucket_name=bucket, endpoint_url=wire.url, region_name=seaweedfs.region, **{**keys, **options})

    return make


def read(storage, name):
    with storage.open(name) as file:
        return file.read()


@pytest.mark.parametrize("store", [refuse_conditions, ignore_conditions])
class TestWithoutConditionalWrites:
    @pytest.fixture
    def storage(self, make, store):
        storage = make(file_overwrite=False)
        store(storage.client)
        return storage

    def test_taken_name_gets_an_alternative(self, storage):
        names = [storage.save("a.txt", ContentFile(content)) for content in (b"one", b"two", b"three")]
        assert len(set(names)) == 3
        assert [read(storage, name) for name in names] == [b"one", b"two", b"three"]

    def test_it_is_found_out_once_a_process(self, storage, make, wire):
        assert storage.capabilities.create_only
        storage.save("a.txt", ContentFile(b"one"))
        assert not storage.capabilities.create_only
        with wire.counting() as seen:
            make(file_overwrite=False).save("b.txt", ContentFile(b"two"))
        assert seen.methods == ["GET", "PUT"]
        assert "if-none-match" not in seen[-1].headers

    def test_long_save_gets_a_free_name(self, storage):
        names = [storage.save("long.bin", ContentFile(letter * 9 * MIB)) for letter in (b"1", b"2")]
        assert names[0] != names[1]
        assert [read(storage, name)[:1] for name in names] == [b"1", b"2"]
        assert storage.client.list_multipart_uploads(Bucket=storage.bucket_name).get("Uploads", []) == []

    def test_file_is_changed_in_place(self, storage):
        storage.save("a.txt", ContentFile(b"one"))
        with storage.open("a.txt", "a") as file:
            file.write(", two")
        with storage.open("a.txt", "r+b") as file:
            file.write(b"ONE")
        assert read(storage, "a.txt") == b"ONE, two"

    def test_first_deed_may_be_a_change(self, storage, make):
        make().save("a.txt", ContentFile(b"one"))
        with storage.open("a.txt", "a") as file:
            file.write(", two")
        assert read(storage, "a.txt") == b"one, two"

    def test_exclusive_open_refuses_a_taken_name(self, storage):
        with storage.open("a.txt", "x") as file:
            file.write("one")
        with pytest.raises(FileExistsError):
            storage.open("a.txt", "x")
        assert read(storage, "a.txt") == b"one"


def test_condition_that_is_honoured_is_found_out_once(make, wire):
    make(file_overwrite=False).save("a.txt", ContentFile(b"one"))
    storage = make(file_overwrite=False)
    assert storage.capabilities.create_only
    with wire.counting() as seen:
        storage.save("b.txt", ContentFile(b"two"))
    assert [(exchange.method, exchange.headers["if-none-match"]) for exchange in seen] == [("PUT", "*")]


@pytest.mark.parametrize("create_only", [True, None])
def test_savers_at_once_get_a_name_each(make, create_only):
    storage, names = make(file_overwrite=False, create_only=create_only), []

    def save(number):
        names.append((storage.save("a.txt", ContentFile(str(number).encode())), number))

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({name for name, _ in names}) == 8
    assert all(read(storage, name) == str(number).encode() for name, number in names)


@pytest.mark.parametrize("create_only", [True, False])
def test_option_saves_the_question(make, wire, create_only):
    storage = make(file_overwrite=False, create_only=create_only)
    assert storage.capabilities.create_only is create_only
    with wire.counting() as seen:
        storage.save("a.txt", ContentFile(b"one"))
    assert seen.methods == (["PUT"] if create_only else ["GET", "PUT"])
