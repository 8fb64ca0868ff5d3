"""Group M (static files) of the contract: collectstatic, run for real."""

from __future__ import annotations

import contextlib
import io
import os
import re
import time

import pytest
from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command
from django.test import override_settings
from django.utils.module_loading import import_string

from storages.testing.cases import contract
from storages.testing.harness import constructor_options, content_of, impossible

SOURCES = {
    "css/app.css": b'body { background: url("../img/dot.png") }\n',
    "img/dot.png": b"\x89PNG dot",
    "js/deep/er/app.js": b"console.log(1)\n",
}


class StaticCases:
    @contract("C-162")
    def test_second_collectstatic_copies_nothing(self, collect):
        assert "3 static files copied" in collect()
        assert "0 static files copied, 3 unmodified" in collect()
        assert content_of(staticfiles_storage, "js/deep/er/app.js") == SOURCES["js/deep/er/app.js"]

    @contract("C-163")
    def test_manifest_hashes_names_and_rewrites_css(self, collect_manifest):
        assert "3 static files copied" in collect_manifest()
        stored = staticfiles_storage.stored_name("css/app.css")
        image = staticfiles_storage.stored_name("img/dot.png")
        assert re.fullmatch(r"css/app\.[0-9a-f]{12}\.css", stored)
        assert image.removeprefix("img/").encode() in content_of(staticfiles_storage, stored)
        assert content_of(staticfiles_storage, image) == SOURCES["img/dot.png"]
        assert stored.encode() in content_of(staticfiles_storage, "staticfiles.json")

    @contract("C-164")
    def test_clear_removes_stale_files(self, collect):
        collect()
        self.save(staticfiles_storage, "old/nested/stale.css")
        assert "3 static files copied" in collect("--clear")
        assert sorted(entry.name for entry in staticfiles_storage.walk()) == sorted(SOURCES)

    @contract("C-165")
    def test_changed_source_gets_a_new_hash(self, collect_manifest, sources):
        collect_manifest()
        before = staticfiles_storage.stored_name("js/deep/er/app.js")
        _write(sources / "js/deep/er/app.js", b"console.log(2)\n", age=-5)
        assert "1 static file copied" in collect_manifest()
        after = staticfiles_storage.stored_name("js/deep/er/app.js")
        assert after != before
        assert content_of(staticfiles_storage, after) == b"console.log(2)\n"
        assert content_of(staticfiles_storage, before) == SOURCES["js/deep/er/app.js"]

    @contract("C-166")
    def test_strict_manifest_refuses_an_unknown_file(self, collect_manifest):
        collect_manifest()
        with pytest.raises(ValueError):
            staticfiles_storage.stored_name("missing.css")

    @contract("C-168")
    def test_dry_run_writes_nothing(self, collect):
        with self.count_requests(staticfiles_storage._wrapped) as wire:
            assert "3 static files copied" in collect("--dry-run")
        assert wire.requests
        assert wire.writes == []
        assert list(staticfiles_storage.walk()) == []

    @contract("C-170")
    def test_static_url_needs_no_request(self, collect_manifest):
        collect_manifest()
        with self.count_requests(staticfiles_storage._wrapped) as wire:
            stored = [staticfiles_storage.stored_name(name) for name in SOURCES]
            urls = [staticfiles_storage.url(name).partition("?")[0] for name in SOURCES]
        assert all(url.endswith(name) for url, name in zip(urls, stored, strict=True))
        assert wire.requests == []

    @contract("C-172")
    def test_changed_source_is_rewritten_under_its_name(self, collect, sources):
        collect()
        _write(sources / "css/app.css", b"body {}\n", age=-5)
        assert "1 static file copied, 2 unmodified" in collect()
        assert content_of(staticfiles_storage, "css/app.css") == b"body {}\n"
        assert sorted(entry.name for entry in staticfiles_storage.walk()) == sorted(SOURCES)

    @contract("C-172")
    def test_rewriting_keeps_the_cache_headers(self, static_settings, sources):
        with static_settings(self.static_backend, **self.cache_control_options("max-age=31536000")) as collect:
            collect()
            _write(sources / "css/app.css", b"body {}\n", age=-5)
            collect()
        _, headers, body = self.http(self.make_storage().url("css/app.css"))
        assert (headers["Cache-Control"], body) == ("max-age=31536000", b"body {}\n")

    @pytest.fixture
    def sources(self, tmp_path):
        """A directory of static files, an hour old."""
        for name, content in SOURCES.items():
            _write(tmp_path / "static" / name, content, age=3_600)
        return tmp_path / "static"

    @pytest.fixture
    def static_settings(self, sources):
        """Make a Django project whose static files go to ``backend``; gives its collectstatic command."""

        @contextlib.contextmanager
        def use(backend: str | None, **options):
            if backend is None:
                impossible("the harness names no such static storage")
            options = constructor_options(self.make_storage(**{self.overwrite_option: True}, **options))
            with override_settings(
                INSTALLED_APPS=[*settings.INSTALLED_APPS, *missing_apps()],
                STATICFILES_DIRS=[str(sources)],
                STATICFILES_FINDERS=["django.contrib.staticfiles.finders.FileSystemFinder"],
                STATIC_URL="/static/",
                DEBUG=False,
            ):
                # Not by STORAGES: override_settings() of Django 4.2 loses its OPTIONS.
                staticfiles_storage._wrapped = import_string(backend)(**options)
                yield collectstatic

        return use

    @pytest.fixture
    def collect(self, static_settings):
        with static_settings(self.static_backend) as collect:
            yield collect

    @pytest.fixture
    def collect_manifest(self, static_settings):
        with static_settings(self.manifest_backend) as collect:
            yield collect


def collectstatic(*flags: str) -> str:
    """Run ``manage.py collectstatic`` and return its summary."""
    return call_command("collectstatic", *flags, interactive=False, stdout=io.StringIO())


def missing_apps() -> list[str]:
    return [app for app in ["django.contrib.staticfiles"] if app not in settings.INSTALLED_APPS]


def _write(path, content: bytes, *, age: int) -> None:
    """Write a source file that was changed ``age`` seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    changed = time.time() - age
    os.utime(path, (changed, changed))
