"""collectstatic into S3 where something goes wrong: a service out of reach, a chain without end, a kill half-way."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time

import pytest
from django.contrib.staticfiles.storage import HashedFilesMixin, staticfiles_storage
from django.core.management import CommandError, call_command
from django.test import override_settings

from storages.backends.s3 import S3ManifestStaticStorage, S3StaticStorage
from tests.servers.process import HOST


@pytest.fixture
def options(seaweedfs, wire):
    return {
        "bucket_name": seaweedfs.make_bucket(),
        "endpoint_url": wire.url,
        "access_key": seaweedfs.access_key,
        "secret_key": seaweedfs.secret_key,
        "location": "static",
    }


@pytest.fixture
def sources(tmp_path):
    sources = tmp_path / "sources"
    sources.mkdir()
    return sources


@pytest.fixture
def collect(sources, monkeypatch):
    """Run collectstatic from ``sources`` into a storage; returns its summary."""

    def collect(storage):
        monkeypatch.setattr(staticfiles_storage, "_wrapped", storage)
        return call_command("collectstatic", interactive=False, stdout=io.StringIO(), stderr=io.StringIO())

    with override_settings(
        STATICFILES_DIRS=[str(sources)],
        STATICFILES_FINDERS=["django.contrib.staticfiles.finders.FileSystemFinder"],
        STATIC_URL="/static/",
        DEBUG=False,
    ):
        yield collect


def names_in(options):
    return sorted(entry.name for entry in S3StaticStorage(**options).walk())


# C-167


def test_manifest_that_cannot_be_read_is_an_error(options):
    with pytest.raises(ConnectionError):
        S3ManifestStaticStorage(**{**options, "endpoint_url": f"http://{HOST}:1", "max_attempts": 1})


def test_manifest_that_may_not_be_read_is_an_error(options):
    with pytest.raises(PermissionError):
        S3ManifestStaticStorage(**{**options, "secret_key": "not the secret"})


def test_missing_manifest_is_the_first_run(options, wire):
    with wire.counting() as seen:
        storage = S3ManifestStaticStorage(**options)
    assert storage.hashed_files == {}
    assert [exchange.path for exchange in seen] == [f"/{options['bucket_name']}/static/staticfiles.json"]


# C-169


def test_chain_of_imports_that_is_too_long_is_an_error(collect, options, sources):
    passes = HashedFilesMixin.max_post_process_passes
    for number in range(passes + 1):
        (sources / f"{number}.css").write_text(f'@import "{number + 1}.css";')
    (sources / f"{passes + 1}.css").write_text('@import "0.css";')  # a circle
    with pytest.raises((CommandError, RuntimeError), match="Max post-process passes exceeded"):
        collect(S3ManifestStaticStorage(**options))


# C-171

KILLED = """
import sys, os
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.staticfiles"],
    STATICFILES_DIRS=[sys.argv[1]],
    STATICFILES_FINDERS=["django.contrib.staticfiles.finders.FileSystemFinder"],
    STATIC_URL="/static/",
)
django.setup()
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command
from storages.backends.s3 import S3ManifestStaticStorage
# Not by STORAGES: settings.configure() of Django 4.2 drops its OPTIONS.
staticfiles_storage._wrapped = S3ManifestStaticStorage(**dict(pair.split("=", 1) for pair in sys.argv[2:]))
call_command("collectstatic", interactive=False, verbosity=0)
"""


def test_killed_run_leaves_the_old_manifest_and_its_files(collect, options, sources, wire):
    (sources / "a.css").write_text('body { background: url("a.png") }')
    (sources / "a.png").write_bytes(b"\x89PNG one")
    collect(S3ManifestStaticStorage(**options))
    before = S3ManifestStaticStorage(**options)
    old = [before.stored_name(name) for name in ("a.css", "a.png")]
    for name, content in {"a.css": b"body { background: url(a.png); color: red }", "a.png": b"\x89PNG two"}.items():
        (sources / name).write_bytes(content)
        os.utime(sources / name, (time.time() + 60,) * 2)

    wire.latency = 0.3
    sent = len(wire.requests)
    arguments = [f"{name}={value}" for name, value in options.items()]
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(sources), *arguments])
    while not any(exchange.method == "PUT" and exchange.status for exchange in wire.requests[sent:]):
        assert process.poll() is None, "it ended before it wrote anything"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    wire.heal()

    after = S3ManifestStaticStorage(**options)
    assert [after.stored_name(name) for name in ("a.css", "a.png")] == old
    assert set(old) <= set(names_in(options))
    with after.open(old[1]) as file:
        assert file.read() == b"\x89PNG one"

    collect(after)
    final = S3ManifestStaticStorage(**options)
    assert final.stored_name("a.png") != old[1]
    assert set(old) <= set(names_in(options))


# Around


def test_static_files_are_public_urls_and_the_manifest_names_them(collect, options, sources):
    (sources / "a.css").write_text("body {}")
    collect(S3ManifestStaticStorage(**options))
    storage = S3ManifestStaticStorage(**options, custom_domain="cdn.example.com")
    url = storage.url("a.css")
    assert url == f"https://cdn.example.com/static/{storage.stored_name('a.css')}"
    assert "X-Amz-" not in S3ManifestStaticStorage(**options).url("a.css")


def test_compressed_static_files_are_hashed_and_rewritten(collect, options, sources):
    (sources / "a.css").write_text('body { background: url("a.png") }')
    (sources / "a.png").write_bytes(b"\x89PNG")
    collect(S3ManifestStaticStorage(**options, gzip=True))
    storage = S3ManifestStaticStorage(**options, gzip=True)
    stored = storage.stored_name("a.css")
    with storage.open(stored) as file:
        assert file.stat.content_encoding == "gzip"
        assert storage.stored_name("a.png").encode() in file.read()
    assert "0 static files copied" in collect(storage)


def test_manifest_may_live_in_another_storage(collect, options, sources):
    manifests = S3StaticStorage(**{**options, "location": "manifests"})
    (sources / "a.css").write_text("body {}")
    collect(S3ManifestStaticStorage(**options, manifest_storage=manifests))
    assert names_in({**options, "location": "manifests"}) == ["staticfiles.json"]
    assert "staticfiles.json" not in names_in(options)
