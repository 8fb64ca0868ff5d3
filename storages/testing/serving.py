"""Groups I (URLs) and J (metadata, compression) of the contract."""

from __future__ import annotations

import gzip
import io
import time
from urllib.parse import urlsplit

import pytest
from django.core.files.uploadedfile import InMemoryUploadedFile
from django.utils.http import content_disposition_header

from storages.testing.cases import contract
from storages.testing.harness import content_of, impossible, outcome

URL_NAMES = {
    "C-122": "plain.txt",
    "C-123": "with space.txt",
    "C-124": "a+b.txt",
    "C-125": "100%25 %2F.txt",
    "C-126": "a#b.txt",
    "C-127": "what?a=b&c.txt",
    "C-128": "caf\u00e9 文件\U0001f600.txt",
    "C-129": "it's [1]:2.txt",
}
PARAMETERS = [pytest.param(name, marks=contract(case)) for case, name in URL_NAMES.items()]
TYPES = [
    pytest.param("a.png", "image/png", marks=contract("C-137")),
    pytest.param("a.css", "text/css", marks=contract("C-137")),
    pytest.param("a.jpeg", "image/jpeg", marks=contract("C-137")),
    pytest.param("a.bin", "application/octet-stream", marks=contract("C-137")),
    pytest.param("a.no-such-type", "application/octet-stream", marks=contract("C-142")),
    pytest.param("no-extension", "application/octet-stream", marks=contract("C-142")),
]
CSS = b"body { color: black }\n" * 200


class ServeCases:
    @pytest.mark.parametrize("name", PARAMETERS)
    def test_url_gets_the_same_bytes(self, storage, name):
        self.save(storage, f"dir/{name}", b"served")
        url = self.url(storage, f"dir/{name}")
        assert url.isascii()
        assert " " not in url
        status, _, body = self.http(url)
        assert (status, body) == (200, b"served")

    @contract("C-122")
    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "BREW"])
    def test_url_signs_the_declared_methods_only(self, storage, method):
        self.needs_signatures(storage)
        self.save(storage, "a.txt")
        if method not in storage.capabilities.presign:
            with pytest.raises(ValueError):
                storage.url("a.txt", http_method=method)
            return
        url = storage.url("a.txt", http_method=method)
        assert self.http(url, method, b"put" if method == "PUT" else None)[0] // 100 == 2

    @contract("C-130")
    def test_expired_url_is_refused(self, storage):
        self.needs_signatures(storage)
        self.save(storage, "a.txt")
        url = storage.url("a.txt", expire=1)
        time.sleep(2.5)  # the server compares whole seconds
        assert 400 <= self.http(url)[0] < 500

    @contract("C-131")
    def test_url_needs_no_server(self, storage):
        self.url(storage, "a.txt")
        assert self.make_unreachable().url("a.txt")

    @contract("C-132")
    def test_expiry_above_the_limit_is_refused(self, storage):
        longest = storage.longest_expire or impossible("the service sets no limit to the expiry")
        assert storage.url("a.txt", expire=longest)
        with pytest.raises(ValueError):
            storage.url("a.txt", expire=longest + 1)

    @pytest.mark.parametrize("name", URL_NAMES.values())
    @contract("C-133")
    def test_custom_domain_quotes_as_the_origin(self, storage, name):
        path = urlsplit(self.make_with_base("cdn.example.com").url(f"dir/{name}")).path
        assert urlsplit(self.url(storage, f"dir/{name}")).path.endswith(path)
        assert path.startswith(
            f"/{self.url_prefix}{self.location}/dir/" if self.location else f"/{self.url_prefix}dir/"
        )

    @contract("C-134")
    @pytest.mark.parametrize("name", ["", None])
    def test_no_name_has_no_url(self, storage, name):
        with pytest.raises(ValueError):
            storage.url(name)

    @contract("C-135")
    def test_disposition_is_signed_into_the_url(self, storage):
        self.needs_signatures(storage)
        value = content_disposition_header(True, 'na"me; filename*=x €.txt')
        self.save(storage, "a.txt", b"served")
        url = storage.url("a.txt", parameters=self.disposition_parameters(value))
        status, headers, body = self.http(url)
        assert (status, headers["Content-Disposition"], body) == (200, value, b"served")
        assert self.http(url.replace("attachment", "inline"))[0] in (401, 403)

    @contract("C-136")
    @pytest.mark.parametrize("base", ["cdn.example.com/base", "cdn.example.com/base/"])
    def test_name_is_appended_to_the_base_url(self, base):
        key = f"{self.location}/a.txt" if self.location else "a.txt"
        assert self.make_with_base(base).url("a.txt") == f"https://cdn.example.com/base/{self.url_prefix}{key}"

    @pytest.mark.parametrize(("name", "content_type"), TYPES)
    def test_type_follows_the_name(self, storage, name, content_type):
        self.save(storage, name)
        assert self.type_of(storage, name) == content_type

    @contract("C-137")
    def test_writer_types_by_the_name_too(self, storage):
        with storage.open("a.css", "wb") as file:
            file.write(CSS)
        assert self.type_of(storage, "a.css") == "text/css"

    @contract("C-138")
    def test_type_of_the_upload_wins(self, storage):
        upload = InMemoryUploadedFile(io.BytesIO(b"x"), "file", "a.png", "image/webp", 1, None)
        storage.save("a.png", upload)
        assert self.type_of(storage, "a.png") == "image/webp"

    @contract("C-139")
    @pytest.mark.parametrize("name", ["a.gz", "a.tar.gz", "a.txt.gz"])
    def test_uploaded_archive_is_not_unpacked(self, storage, name):
        archive = gzip.compress(CSS, mtime=0)
        self.save(storage, name, archive)
        assert content_of(storage, name) == archive
        if self.has_urls(storage):
            _, headers, body = self.http(self.url(storage, name))
            assert (headers["Content-Encoding"], body) == (None, archive)

    @contract("C-140")
    def test_gzip_option_compresses_for_http_only(self):
        if self.gzip_options is None:
            impossible("the backend has no gzip option")
        storage = self.make_storage(**self.gzip_options)
        self.save(storage, "app.css", CSS)
        assert content_of(storage, "app.css") == CSS
        _, headers, body = self.http(self.url(storage, "app.css"))
        assert (headers["Content-Encoding"], headers["Content-Type"]) == ("gzip", "text/css")
        assert gzip.decompress(body) == CSS
        assert storage.size("app.css") == len(body) < len(CSS)

    @contract("C-141")
    def test_precompressed_sibling_is_plain_bytes_unless_asked(self, storage):
        archive = gzip.compress(CSS, mtime=0)
        asking = self.make_storage(**self.precompressed_options())
        self.save(storage, "app.css.gz", archive)
        self.save(asking, "asked/app.css.gz", archive)
        plain, asked = (self.http(self.url(storage, name)) for name in ("app.css.gz", "asked/app.css.gz"))
        assert (plain[1]["Content-Encoding"], plain[2]) == (None, archive)
        assert (asked[1]["Content-Encoding"], asked[1]["Content-Type"], asked[2]) == ("gzip", "text/css", archive)

    @contract("C-143")
    def test_object_parameters_apply_to_every_way_of_writing(self, storage):
        cached = self.make_storage(**self.cache_control_options("max-age=60"))
        self.save(cached, "saved.txt")
        with cached.open("written.txt", "wb") as file:
            file.write(b"content")
        self.save(storage, "plain.txt")
        cached.copy("plain.txt", "copied.txt")
        names = ["saved.txt", "written.txt", "copied.txt", "plain.txt"]
        found = [self.http(self.url(storage, name))[1]["Cache-Control"] for name in names]
        assert found == ["max-age=60", "max-age=60", "max-age=60", None]

    @contract("C-144")
    def test_checksum_is_sent_when_switched_on(self):
        if self.checksum_options is None:
            impossible("the backend has no checksum switch")
        sent = []
        for options in self.checksum_options:
            storage = self.make_storage(**options)
            with self.count_requests(storage) as wire:
                self.save(storage, "a.txt")
            sent.append(any(self.checksum_header in header for headers in wire.headers for header in headers))
        assert sent == [True, False]

    @contract("C-144")
    def test_damaged_download_is_an_error(self):
        switched_on = self.checksum_options[0] if self.checksum_options else {}
        corrupting = self.make_corrupting(**switched_on)
        self.save(self.make_storage(**switched_on), "a.txt", b"INTACT" * 100)
        assert isinstance(outcome(content_of, corrupting, "a.txt"), Exception)

    def has_urls(self, storage) -> bool:
        return self.public_urls or bool(storage.capabilities.presign)

    def url(self, storage, name: str, **options) -> str:
        """Return the URL of ``name``; where the storage declares none, hold it to its refusal."""
        if self.has_urls(storage):
            return storage.url(name, **options)
        with pytest.raises(ValueError):
            storage.url(name)
        return impossible("the backend has no URLs")

    def needs_signatures(self, storage) -> None:
        if "GET" not in storage.capabilities.presign:
            impossible("the backend signs no URLs")

    def type_of(self, storage, name: str) -> str:
        """Return the Content-Type of ``name``, over HTTP where there is a URL."""
        if not storage.capabilities.content_type:
            impossible("the service keeps no content type")
        if self.has_urls(storage):
            return self.http(self.url(storage, name))[1]["Content-Type"]
        with storage.open(name) as file:
            return file.stat.content_type
