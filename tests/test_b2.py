"""What is special to B2Storage: login, versions, old options, URLs, costs on the wire, faults."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

import pytest
from b2sdk.v2 import B2Api, B2HttpApiConfig
from b2sdk.v2.exception import InvalidAuthToken
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.test import override_settings
from django.urls import include, path

from storages import process
from storages.backends import b2 as module
from storages.backends.b2 import (
    B2AccountInfoCache,
    B2FileInformationNotAvailableException,
    B2Storage,
    BackblazeB2Storage,
    DjangoCacheAccountInfo,
    LoggedInStorage,
    PublicStorage,
    StaffStorage,
)
from storages.contract import DeleteError
from storages.testing.harness import content_of, outcome, pattern
from storages.testing.reading import REFUSABLE
from tests.servers.b2 import B2
from tests.servers.process import HOST
from tests.servers.proxy import Proxy

MIB = 1024**2
HASTY = {"connect_timeout": 1, "read_timeout": 1, "max_attempts": 2}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
    "django-backblaze-b2": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "b2"},
}

# A stalled test fails here instead of holding up the run; the promise is a minute.
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def b2():
    with B2() as b2:
        yield b2


@pytest.fixture
def wire(b2):
    with Proxy(HOST, b2.port) as wire:
        yield wire


@pytest.fixture
def bucket(b2):
    return b2.make_bucket()


@pytest.fixture
def options(b2, wire, bucket):
    """The options of a storage on a bucket of its own, over a wire that counts and breaks."""
    return {
        "realm": wire.url,
        "application_key_id": b2.key.id,
        "application_key": b2.key.secret,
        "bucket": bucket,
        "account_info": {"type": "memory"},
    }


@pytest.fixture
def storage(options):
    storage = B2Storage(**options)
    storage._bucket()  # the login, and where the bucket is, are found once in a process
    return storage


@pytest.fixture
def overwriting(options):
    return B2Storage(**options, allow_file_overwrites=True)


@pytest.fixture
def naps(monkeypatch):
    """The seconds that the SDK would have waited before trying again; it does not wait."""
    naps: list[float] = []
    monkeypatch.setattr("b2sdk._internal.b2http.time.sleep", naps.append)
    return naps


@pytest.fixture
def new_process(monkeypatch):
    """Forget what the process knows, as a new one does."""
    return lambda: monkeypatch.setattr(process, "_shared", {})


def save(storage, name, content=b"content"):
    return storage.save(name, ContentFile(content))


def get(url):
    """Return status, headers and body of the answer to somebody who has only the URL."""
    try:
        answer = urllib.request.urlopen(url, timeout=10)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers, answer.read()


def calls(seen):
    """Return the requests of a wire by the names that the API gives them."""
    return [one.path.partition("?")[0].split("/")[3 if "b2api" in one.path else 1] for one in seen]


# Costs


def test_login_is_sent_once_for_all_storages(options, wire, new_process):
    new_process()  # the wire of an earlier test may have had the same port
    with wire.counting() as seen:
        for _ in range(3):
            B2Storage(**options).exists("a.txt")
    assert calls(seen) == ["b2_authorize_account", "b2_list_buckets", *["b2_list_file_names"] * 3]


COSTS = {
    "exists": (lambda storage: storage.exists("a.txt"), ["b2_list_file_names"]),
    "exists of a missing one": (lambda storage: storage.exists("missing"), ["b2_list_file_names"]),
    "size": (lambda storage: storage.size("a.txt"), ["file"]),
    "read": (lambda storage: content_of(storage, "a.txt"), ["file"]),
    "a range": (lambda storage: storage.open_range("a.txt", 2, 4).close(), ["file"]),
    "listdir": (lambda storage: storage.listdir(""), ["b2_list_file_names"]),
    "delete": (lambda storage: storage.delete("a.txt"), ["b2_list_file_versions", "b2_delete_file_version"]),
    "copy": (lambda storage: storage.copy("a.txt", "b.txt"), ["file", "b2_copy_file"]),
    "url": (lambda storage: storage.url("a.txt"), ["b2_get_download_authorization"]),
    "save": (
        lambda storage: save(storage, "new.txt"),
        # Looks, writes, and looks whether somebody else has written meanwhile.
        ["b2_list_file_names", "upload", "b2_list_file_versions"],
    ),
}


@pytest.mark.parametrize("verb", COSTS)
def test_verb_costs(storage, wire, verb):
    save(storage, "a.txt")
    call, expected = COSTS[verb]
    with wire.counting() as seen:
        call(storage)
    assert calls(seen) == expected


def test_overwriting_costs_one_request(overwriting, wire):
    save(overwriting, "a.txt")
    with wire.counting() as seen:
        save(overwriting, "a.txt", b"other")
    assert calls(seen) == ["upload"]


def test_long_file_goes_in_parts_through_little_memory(overwriting, wire, b2, bucket):
    content = pattern(20 * MIB)
    with wire.counting() as seen:
        save(overwriting, "long.bin", content)
    uploads = [one.request_body_bytes for one in seen if "/upload-part/" in one.path]
    assert sorted(uploads) == [4 * MIB, 8 * MIB, 8 * MIB]
    assert content_of(overwriting, "long.bin") == content
    assert [version.action for version in b2.versions(bucket, "long.bin")] == ["upload"]


def test_range_of_a_large_file_does_not_fetch_the_rest(overwriting, wire):
    save(overwriting, "long.bin", pattern(9 * MIB))
    with wire.counting() as seen, overwriting.open("long.bin") as file:
        file.seek(5 * MIB)
        assert file.read(1024) == pattern(9 * MIB)[5 * MIB : 5 * MIB + 1024]
    assert len(seen) == 2
    assert seen.downloaded < MIB


def test_walk_pages_without_directories(storage, wire, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 2)
    for name in ("a.txt", "dir/b.txt", "dir/sub/c.txt"):
        save(storage, name)
    with wire.counting() as seen:
        assert [entry.name for entry in storage.walk()] == ["a.txt", "dir/b.txt", "dir/sub/c.txt"]
    assert calls(seen) == ["b2_list_file_names"] * 2


# Versions


def test_delete_removes_every_version(overwriting, b2, bucket):
    for content in (b"one", b"two", b"three"):
        save(overwriting, "a.txt", content)
    overwriting.delete("a.txt")
    assert not overwriting.exists("a.txt")
    assert b2.versions(bucket, "a.txt") == []


def test_delete_that_fails_half_way_shows_no_older_content(overwriting, b2, bucket):
    save(overwriting, "a.txt", b"old")
    save(overwriting, "a.txt", b"new")
    b2.refuse("b2_delete_file_version", 401, "unauthorized")
    with pytest.raises(PermissionError):
        overwriting.delete("a.txt")
    assert content_of(overwriting, "a.txt") == b"new"


def test_hidden_file_is_missing_and_its_name_is_free(storage, b2, bucket):
    save(storage, "a.txt", b"hidden")
    b2.hide(bucket, "a.txt")
    assert not storage.exists("a.txt")
    assert storage.listdir("") == ([], [])
    assert save(storage, "a.txt", b"new") == "a.txt"
    storage.delete("a.txt")
    assert b2.versions(bucket, "a.txt") == []


def test_delete_leaves_an_upload_that_is_under_way(overwriting, b2, bucket):
    save(overwriting, "a.bin", b"old")
    with overwriting.open("a.bin", "wb") as file:
        file.write(pattern(12 * MIB))
        overwriting.delete("a.bin")
    assert content_of(overwriting, "a.bin") == pattern(12 * MIB)


@pytest.mark.parametrize("size", [10, 9 * MIB])
def test_saver_who_comes_second_in_a_race_gives_way(storage, overwriting, b2, bucket, monkeypatch, size):
    look = storage._refuse_taken

    def look_too_early(key):
        look(key)
        if key == "a.txt":
            save(overwriting, key, b"theirs")

    monkeypatch.setattr(storage, "_refuse_taken", look_too_early)
    name = save(storage, "a.txt", pattern(size))
    assert name != "a.txt"
    assert content_of(storage, name) == pattern(size)
    assert [version.content for version in b2.versions(bucket, "a.txt")] == [b"theirs"]


def test_copy_keeps_type_and_information(options):
    storage = B2Storage(**options, default_file_info={"b2-cache-control": "max-age=60", "author": "Zoë"})
    save(storage, "a.css")
    plain = B2Storage(**options)
    plain.copy("a.css", "b.css")
    headers = plain._info("b.css")
    kept = (headers["Content-Type"], headers["Cache-Control"], headers["X-Bz-Info-author"])
    assert kept == ("text/css", "max-age=60", "Zo%C3%AB")


def test_large_copy_goes_in_parts(overwriting, wire, monkeypatch):
    save(overwriting, "a.css", pattern(12 * MIB))
    monkeypatch.setattr(module, "LARGEST_COPY", 5 * MIB)
    with wire.counting() as seen:
        overwriting.copy("a.css", "b.css")
    assert calls(seen) == ["file", "b2_start_large_file", *["b2_copy_part"] * 3, "b2_finish_large_file"]
    assert content_of(overwriting, "b.css") == pattern(12 * MIB)
    assert overwriting._stat("b.css").content_type == "text/css"


def test_large_copy_that_fails_leaves_nothing(overwriting, b2, monkeypatch):
    save(overwriting, "a.bin", pattern(12 * MIB))
    monkeypatch.setattr(module, "LARGEST_COPY", 5 * MIB)
    b2.refuse("b2_copy_part", 403, "storage_cap_exceeded")
    with pytest.raises(PermissionError, match="cap"):
        overwriting.copy("a.bin", "b.bin")
    assert not overwriting.exists("b.bin")
    assert b2.unfinished() == []


# Login


class TestLoginInACache:
    @pytest.fixture(autouse=True)
    def _empty_cache(self):
        with override_settings(CACHES=CACHES):
            caches["django-backblaze-b2"].clear()
            yield

    @pytest.fixture
    def options(self, options):
        del options["account_info"]
        return options

    def test_next_process_does_not_log_in(self, options, wire, new_process):
        save(B2Storage(**options), "a.txt")
        new_process()
        with wire.counting() as seen:
            assert B2Storage(**options).exists("a.txt")
        assert calls(seen) == ["b2_list_buckets", "b2_list_file_names"]

    def test_key_is_not_in_the_cache(self, options, b2):
        assert not B2Storage(**options).exists("a.txt")
        kept = repr(caches["django-backblaze-b2"]._cache)
        assert kept != "OrderedDict()"
        assert b2.key.secret.encode() not in b"".join(caches["django-backblaze-b2"]._cache.values())
        assert b2.key.secret not in kept

    def test_flush_of_the_cache_is_not_noticed(self, options, wire):
        storage = B2Storage(**options)
        save(storage, "a.txt")
        caches["django-backblaze-b2"].clear()
        with wire.counting() as seen:
            assert storage.exists("a.txt")
        assert calls(seen) == ["b2_list_file_names"]

    def test_expired_token_is_renewed_for_all_processes(self, options, wire, b2, new_process):
        save(B2Storage(**options), "a.txt")
        b2.expire_tokens()
        new_process()
        assert content_of(B2Storage(**options), "a.txt") == b"content"
        new_process()
        with wire.counting() as seen:
            assert B2Storage(**options).exists("a.txt")
        assert calls(seen) == ["b2_list_buckets", "b2_list_file_names"]

    def test_login_is_of_no_use_with_another_key(self, options, new_process):
        save(B2Storage(**options), "a.txt")
        new_process()
        with pytest.raises(PermissionError):
            B2Storage(**{**options, "application_key": "not the key"}).exists("a.txt")

    def test_client_of_ones_own_finds_a_login_in_the_cache(self, options, b2):
        first = B2Api(DjangoCacheAccountInfo("django-backblaze-b2"), api_config=B2HttpApiConfig())
        first.authorize_account(options["realm"], b2.key.id, b2.key.secret)
        other = B2Api(B2AccountInfoCache("django-backblaze-b2"), api_config=B2HttpApiConfig())
        assert other.list_buckets(options["bucket"])[0].name == options["bucket"]
        assert b2.key.secret.encode() not in b"".join(caches["django-backblaze-b2"]._cache.values())
        b2.expire_tokens()
        with pytest.raises(InvalidAuthToken):  # the key is not there
            other.list_buckets(options["bucket"])
        assert first.list_buckets(options["bucket"])

    def test_cache_of_another_name_must_exist(self, options):
        with pytest.raises(ImproperlyConfigured, match="'no-such-cache', which is not in CACHES"):
            B2Storage(**options, account_info={"type": "django-cache", "cache": "no-such-cache"}).exists("a.txt")


def test_without_a_cache_the_login_is_kept_in_memory(options):
    del options["account_info"]
    storage = B2Storage(**options)
    save(storage, "a.txt")
    assert content_of(storage, "a.txt") == b"content"


@pytest.mark.parametrize("option", ["database_path", "databasePath"])
def test_login_in_a_file_serves_the_next_process(options, wire, tmp_path, new_process, option):
    options["account_info"] = {"type": "sqlite", option: str(tmp_path / "account.db")}
    save(B2Storage(**options), "a.txt")
    new_process()
    with wire.counting() as seen:
        assert content_of(B2Storage(**options), "a.txt") == b"content"
    assert calls(seen) == ["b2_list_buckets", "file"]


VERBS_AFTER_EXPIRY = {
    "save": lambda storage: save(storage, "b.txt"),
    "save in parts": lambda storage: save(storage, "b.bin", pattern(9 * MIB)),
    "read": lambda storage: content_of(storage, "a.txt"),
    "size": lambda storage: storage.size("a.txt"),
    "listdir": lambda storage: storage.listdir(""),
    "url": lambda storage: storage.url("a.txt"),
    "delete": lambda storage: storage.delete("a.txt"),
}


@pytest.mark.parametrize("verb", VERBS_AFTER_EXPIRY)
def test_expired_token_is_renewed(storage, b2, verb):
    save(storage, "a.txt")
    b2.expire_tokens()
    assert outcome(VERBS_AFTER_EXPIRY[verb], storage) is None


def test_expired_token_in_the_middle_of_a_long_write(overwriting, b2):
    with overwriting.open("long.bin", "wb") as file:
        file.write(pattern(17 * MIB))
        b2.expire_tokens()
        file.write(pattern(9 * MIB, seed=1))
    assert content_of(overwriting, "long.bin") == pattern(17 * MIB) + pattern(9 * MIB, seed=1)


def test_construction_logs_in_only_when_told_to(options, wire):
    with wire.counting() as seen:
        B2Storage(**options)
        assert calls(seen) == []
        B2Storage(**options, authorize_on_init=True)
        assert calls(seen) == ["b2_authorize_account"]
        B2Storage(**options, authorize_on_init=True, validate_on_init=True)
    assert calls(seen) == ["b2_authorize_account", "b2_list_buckets"]


# Buckets


def test_missing_bucket_is_told(options):
    options["bucket"] = "no-such-bucket"
    for verb in REFUSABLE.values():
        with pytest.raises(ImproperlyConfigured, match="there is no bucket 'no-such-bucket'"):
            verb(B2Storage(**options))


@pytest.mark.parametrize(
    ("details", "kind"),
    [({}, "allPrivate"), ({"bucket_type": "allPublic"}, "allPublic"), ({"bucketType": "allPublic"}, "allPublic")],
)
def test_missing_bucket_is_created_when_told_how(options, b2, details, kind):
    options["bucket"] = f"created-{time.monotonic_ns()}"
    storage = B2Storage(**options, non_existent_bucket_details=details)
    assert save(storage, "a.txt") == "a.txt"
    assert b2.buckets[options["bucket"]]["bucketType"] == kind


def test_bucket_that_was_made_anew_is_found(storage, b2, bucket):
    save(storage, "a.txt")
    b2.drop_bucket(bucket)
    with pytest.raises(ImproperlyConfigured, match="bucket"):
        storage.listdir("")
    b2.make_bucket(name=bucket)
    assert storage.listdir("") == ([], [])


def test_key_for_one_bucket_need_not_list_buckets(options, b2, bucket):
    key = b2.add_key("listFiles", "readFiles", "shareFiles", "writeFiles", "deleteFiles", bucket=bucket)
    storage = B2Storage(**{**options, "application_key_id": key.id, "application_key": key.secret})
    save(storage, "a.txt")
    assert get(storage.url("a.txt"))[2] == b"content"


def test_key_for_another_bucket_is_refused_with_advice(options, b2):
    key = b2.add_key("listBuckets", "listFiles", bucket=b2.make_bucket())
    storage = B2Storage(**{**options, "application_key_id": key.id, "application_key": key.secret})
    with pytest.raises(PermissionError, match="use another key, or correct 'bucket'"):
        storage.exists("a.txt")


NEEDED = {
    "listFiles": lambda storage: storage.listdir(""),
    "readFiles": lambda storage: content_of(storage, "a.txt"),
    "writeFiles": lambda storage: save(storage, "b.txt"),
    "deleteFiles": lambda storage: storage.delete("a.txt"),
    "shareFiles": lambda storage: storage.url("a.txt"),
}


@pytest.mark.parametrize("capability", NEEDED)
def test_key_without_a_capability_is_refused_with_advice(options, storage, b2, capability):
    save(storage, "a.txt")
    key = b2.add_key("listBuckets", *(set(NEEDED) - {capability}))
    limited = B2Storage(**{**options, "application_key_id": key.id, "application_key": key.secret})
    with pytest.raises(PermissionError, match=capability) as caught:
        NEEDED[capability](limited)
    assert key.secret not in str(caught.value)
    assert content_of(storage, "a.txt") == b"content"


# URLs


def test_url_of_a_private_bucket_opens_for_a_while(storage):
    save(storage, "dir/a b+c.txt")
    url = storage.url("dir/a b+c.txt", expire=60)
    assert get(url)[2] == b"content"
    assert get(url.partition("?")[0])[0] == 401


def test_url_of_a_public_bucket_is_not_signed(options, b2):
    storage = B2Storage(**{**options, "bucket": b2.make_bucket("allPublic")})
    save(storage, "a b.txt")
    assert storage.url("a b.txt").endswith(f"/file/{storage.bucket}/a%20b.txt")
    assert get(storage.url("a b.txt"))[2] == b"content"


def test_signing_can_be_switched(options, b2):
    public = B2Storage(**{**options, "bucket": b2.make_bucket("allPublic")}, querystring_auth=True)
    assert "Authorization=" in public.url("a.txt")
    assert B2Storage(**options, querystring_auth=False).url("a.txt").endswith("/a.txt")


CDNS = {
    "https://cdn.example.com": "https://cdn.example.com/a%20b.txt",
    "https://cdn.example.com/": "https://cdn.example.com/a%20b.txt",
    "cdn.example.com/base": "https://cdn.example.com/base/a%20b.txt",
}


@pytest.mark.parametrize("base", CDNS)
@pytest.mark.parametrize("option", ["base_url", "baseUrl"])
def test_cdn_takes_the_place_of_the_host(options, wire, base, option):
    storage = B2Storage(**options, cdn_config={option: base})
    with wire.counting() as seen:
        assert storage.url("a b.txt") == CDNS[base]
    assert seen == []


@pytest.mark.parametrize("option", ["include_bucket_url_segments", "includeBucketUrlSegments"])
def test_cdn_keeps_the_segments_of_the_bucket(options, option):
    storage = B2Storage(**options, cdn_config={"base_url": "https://cdn.example.com", option: True})
    assert storage.url("a.txt") == f"https://cdn.example.com/file/{storage.bucket}/a.txt"


def test_cdn_without_a_base_is_refused(options):
    with pytest.raises(ImproperlyConfigured, match="'cdn_config' needs a 'base_url'"):
        B2Storage(**options, cdn_config={"include_bucket_url_segments": True})


# The storages of which Django serves the files


@pytest.fixture
def configured(options, b2):
    """Settings with a bucket for each kind of reader."""
    names = {"public": b2.make_bucket("allPublic"), "loggedIn": b2.make_bucket(), "staff": b2.make_bucket()}
    with override_settings(BACKBLAZE_CONFIG={**options, "specificBucketNames": names}):
        yield names


class _Routes:
    app_name = "django_b2_storage"
    urlpatterns = [
        path(f"{prefix}/<path:filename>", lambda request, filename: None, name=name)
        for prefix, name in [("b2", "b2-public"), ("b2l", "b2-logged-in"), ("b2s", "b2-staff")]
    ]


class _ProjectWithoutRoutes:
    urlpatterns: tuple = ()


class _Project:
    urlpatterns = [path("", include((_Routes.urlpatterns, "django_b2_storage")))]


def test_each_kind_has_its_bucket(configured):
    found = {cls: cls().bucket for cls in (PublicStorage, LoggedInStorage, StaffStorage)}
    assert found == dict(zip(found, configured.values(), strict=True))


def test_url_of_the_public_kind_is_that_of_its_bucket(configured):
    storage = PublicStorage()
    save(storage, "a.txt")
    assert get(storage.url("a.txt"))[2] == b"content"


@override_settings(ROOT_URLCONF=_ProjectWithoutRoutes)
@pytest.mark.parametrize("cls", [LoggedInStorage, StaffStorage])
def test_url_of_a_served_file_says_what_is_missing(configured, cls):
    with pytest.raises(ValueError, match=r"come with storages\.private"):
        cls().url("a.txt")


@override_settings(ROOT_URLCONF=_Project)
def test_url_of_a_served_file_is_that_of_the_view(configured, options):
    assert LoggedInStorage().url("dir/a b.txt") == "/b2l/dir/a%20b.txt"
    assert StaffStorage().url("a.txt") == "/b2s/a.txt"
    with override_settings(BACKBLAZE_CONFIG=options):
        assert PublicStorage().url("a.txt") == "/b2/a.txt"


@pytest.mark.parametrize("option", ["application_key", "application_key_id", "bucket", "realm"])
@pytest.mark.parametrize("cls", [PublicStorage, LoggedInStorage, StaffStorage])
def test_served_kinds_take_their_login_from_the_settings_only(configured, cls, option):
    with pytest.raises(ImproperlyConfigured, match=f"'{option}' can only be set in BACKBLAZE_CONFIG"):
        cls(**{option: "other"})


# Options


def test_names_of_the_old_package_are_kept():
    assert BackblazeB2Storage is B2Storage
    assert issubclass(FileNotFoundError, B2FileInformationNotAvailableException)


def test_options_come_from_one_dictionary_of_the_settings(options):
    with override_settings(BACKBLAZE_CONFIG={**options, "allowFileOverwrites": True, "default_file_info": {"a": "1"}}):
        storage = B2Storage()
        assert (storage.bucket, storage.allow_file_overwrites, storage.default_file_info) == (
            options["bucket"],
            True,
            {"a": "1"},
        )
        assert B2Storage(bucket="other").bucket == "other"


def test_dictionaries_of_the_constructor_add_to_those_of_the_settings():
    config = {"cdnConfig": {"baseUrl": "https://cdn.example.com"}, "specificBucketNames": {"public": "p"}}
    with override_settings(BACKBLAZE_CONFIG=config):
        storage = B2Storage(cdn_config={"include_bucket_url_segments": True}, specific_bucket_names={"loggedIn": "l"})
    assert storage.cdn_config == {"base_url": "https://cdn.example.com", "include_bucket_url_segments": True}
    assert storage.specific_bucket_names == {"public": "p", "logged_in": "l", "staff": None}


OLD_OPTIONS = {
    "authorizeOnInit": ("authorize_on_init", False),
    "validateOnInit": ("validate_on_init", False),
    "allowFileOverwrites": ("allow_file_overwrites", True),
    "accountInfo": ("account_info", {"type": "memory", "cache": "django-backblaze-b2"}),
    "forbidFilePropertyCaching": ("forbid_file_property_caching", True),
    "specificBucketNames": ("specific_bucket_names", {"public": "p", "logged_in": None, "staff": None}),
    "cdnConfig": ("cdn_config", {"base_url": "https://cdn.example.com"}),
    "nonExistentBucketDetails": ("non_existent_bucket_details", {"bucket_type": "allPublic"}),
    "defaultFileInfo": ("default_file_info", {"a": "1"}),
}


@pytest.mark.parametrize("old", OLD_OPTIONS)
def test_option_of_the_old_package_still_works(old):
    new, value = OLD_OPTIONS[old]
    with pytest.warns(DeprecationWarning, match=f"use option '{new}'"):
        assert getattr(B2Storage(**{old: value}), new) == value
    assert getattr(B2Storage(opts={new: value}), new) == value


def test_opts_and_keywords_exclude_each_other():
    with pytest.raises(ImproperlyConfigured, match="Can only specify opts or keyword args, not both!"):
        B2Storage(opts={"bucket": "one"}, bucket="two")


def test_migration_holds_no_secret_of_opts(b2):
    storage = B2Storage(opts={"bucket": "one", "application_key": b2.key.secret, "application_key_id": b2.key.id})
    assert storage.deconstruct() == ("storages.backends.b2.B2Storage", (), {"bucket": "one"})
    assert b2.key.secret not in repr(storage)


WRONG = {
    "unknown option": ({"buckets": "x"}, "has no option 'buckets'; did you mean 'bucket'"),
    "unknown kind of login": ({"account_info": {"type": "redis"}}, "'django-cache', 'memory', 'sqlite', not 'redis'"),
    "unknown key of a dictionary": ({"specific_bucket_names": {"guests": "g"}}, "but not 'guests'"),
    "dictionary that is none": ({"cdn_config": "https://cdn.example.com"}, "expects dict, not str"),
    "part below the least": ({"part_size": 1_000_000}, "at least 5000000"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_option_is_told(case):
    given, message = WRONG[case]
    with pytest.raises(ImproperlyConfigured, match=message):
        B2Storage(**given)


def test_unknown_option_in_the_settings_is_told():
    with override_settings(BACKBLAZE_CONFIG={"bukket": "x"}), pytest.raises(ImproperlyConfigured, match="'bukket'"):
        B2Storage()


def test_missing_key_is_told_at_the_first_use():
    with pytest.raises(ImproperlyConfigured, match="set 'application_key_id' and 'application_key'"):
        B2Storage(bucket="x").exists("a.txt")


def test_key_is_taken_from_the_environment(options, monkeypatch):
    monkeypatch.setenv("B2_APPLICATION_KEY_ID", options.pop("application_key_id"))
    monkeypatch.setenv("B2_APPLICATION_KEY", options.pop("application_key"))
    assert not B2Storage(**options).exists("a.txt")


def test_name_with_a_segment_too_long_is_refused(storage):
    with pytest.raises(SuspiciousFileOperation, match="250 bytes"):
        save(storage, "x" * 251)
    assert storage.listdir("") == ([], [])


# Faults


def test_busy_upload_goes_to_another_host(storage, b2, naps):
    b2.refuse("/upload/", 503, "service_unavailable", times=2)
    assert save(storage, "a.txt") == "a.txt"
    assert content_of(storage, "a.txt") == b"content"
    assert naps == []


def test_busy_service_is_asked_again_when_it_says(storage, b2, naps):
    b2.refuse("b2_list_file_names", 429, "too_many_requests", times=2, Retry_After="3")
    assert not storage.exists("a.txt")
    assert naps == [3, 3]


def test_service_that_wants_too_long_a_pause_is_given_up(storage, b2, naps):
    b2.refuse("b2_list_file_names", 429, "too_many_requests", Retry_After="3600")
    error = outcome(storage.exists, "a.txt")
    assert type(error).__name__ == "MaxRetriesExceeded"
    assert naps == []


@pytest.mark.parametrize(("max_attempts", "tries"), [(1, 1), (3, 3)])
def test_service_that_stays_busy_is_given_up(options, b2, wire, naps, max_attempts, tries):
    storage = B2Storage(**options, max_attempts=max_attempts)
    storage._bucket()
    b2.refuse("b2_list_file_names", 503, "service_unavailable", times=tries)
    with wire.counting() as seen:
        assert isinstance(outcome(storage.exists, "a.txt"), Exception)
    assert len(seen) == tries
    assert not storage.exists("a.txt")


def test_reached_cap_is_told(storage, b2):
    b2.refuse("/upload/", 403, "storage_cap_exceeded")
    with pytest.raises(PermissionError, match="reached a cap"):
        save(storage, "a.txt")
    assert not storage.exists("a.txt")


VERBS = {
    **REFUSABLE,
    "save in parts": lambda storage: save(storage, "b.bin", pattern(9 * MIB)),
    "url": lambda storage: storage.url("a.txt"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_stalled_service_is_a_timeout_and_the_next_call_works(options, wire, naps, verb):
    storage = B2Storage(**options, **HASTY)
    save(storage, "a.txt")
    wire.mute()
    with pytest.raises(TimeoutError):
        VERBS[verb](storage)
    wire.heal()
    assert content_of(storage, "a.txt") == b"content"


@pytest.mark.parametrize("verb", VERBS)
def test_refused_connection_is_an_error_and_the_next_call_works(options, wire, naps, verb):
    storage = B2Storage(**options, **HASTY)
    save(storage, "a.txt")
    wire.refuse()
    with pytest.raises(ConnectionError):
        VERBS[verb](storage)
    wire.heal()
    assert content_of(storage, "a.txt") == b"content"


def test_patience_ends_before_a_minute_with_the_usual_timeouts(options):
    http = B2Storage(**options)._account.api.session.raw_api.b2_http.session
    with http.patience():
        # One request may stall for read_timeout; after that, a second one would end too late.
        http._patience.ends -= 30
        assert type(outcome(http._count, TimeoutError())).__name__ == "MaxRetriesExceeded"


@pytest.mark.parametrize("deed", ["reset", "hang_up"])
def test_download_that_breaks_off_is_asked_for_again(overwriting, wire, deed):
    save(overwriting, "a.bin", pattern(9 * MIB))
    getattr(wire, deed)(down=5 * MIB)
    assert content_of(overwriting, "a.bin") == pattern(9 * MIB)


@pytest.mark.parametrize("size", [3 * MIB, 12 * MIB])
def test_upload_that_breaks_off_is_sent_again(overwriting, wire, b2, bucket, naps, size):
    save(overwriting, "a.bin", b"old")
    wire.reset(up=2 * MIB)
    save(overwriting, "a.bin", pattern(size))
    assert content_of(overwriting, "a.bin") == pattern(size)
    assert b2.unfinished() == []


@pytest.mark.parametrize("size", [3 * MIB, 12 * MIB])
def test_upload_that_keeps_breaking_off_leaves_the_old_object(options, wire, b2, naps, size):
    storage = B2Storage(**options, **HASTY, allow_file_overwrites=True)
    save(storage, "a.bin", b"old")
    wire.reset(up=2 * MIB, times=None)
    with pytest.raises(ConnectionError):
        save(storage, "a.bin", pattern(size))
    wire.heal()
    assert content_of(storage, "a.bin") == b"old"


def test_redirect_is_not_followed(storage, b2):
    save(storage, "a.txt")
    b2.refuse("/file/", 302, "found", Location="http://127.0.0.1:1/")
    assert isinstance(outcome(storage.size, "a.txt"), Exception)
    assert [line for line in b2.requests if ":1/" in line] == []


def test_each_failed_delete_is_reported(overwriting, b2):
    for name in ("a.txt", "b.txt", "c.txt"):
        save(overwriting, name)
    b2.refuse("b2_delete_file_version", 401, "unauthorized")
    with pytest.raises(DeleteError) as caught:
        overwriting.delete_many(["a.txt", "b.txt", "c.txt"])
    assert {name: type(error).__mro__[2] for name, error in caught.value.errors.items()} == {"a.txt": PermissionError}
    assert overwriting.listdir("") == ([], ["a.txt"])


def test_no_message_or_log_holds_the_key(options, b2, caplog, naps):
    caplog.set_level("DEBUG")
    wrong = {**options, "application_key": "K001-not-the-key"}
    texts = [str(outcome(verb, B2Storage(**wrong))) for verb in VERBS.values()]
    save(B2Storage(**options), "a.txt")
    assert not [text for text in (*texts, caplog.text) if "K001-not-the-key" in text or b2.key.secret in text]
    assert json.dumps(texts)
