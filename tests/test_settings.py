"""How a storage gets its options, refuses bad ones and keeps secrets to itself."""

from __future__ import annotations

import copy
import datetime
import pickle
import traceback

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.utils.functional import lazystr

from storages import process
from storages.backends.memory import MemoryStorage
from storages.backends.s3 import S3Storage
from storages.settings import HIDDEN, Renamed, Setting, SettingsMixin, nearest, redacted

KEYS = {"access_key": "id", "secret_key": "planted"}


class Shop(SettingsMixin):
    city = Setting(
        "Rome", names=("SHOP_TOWN", "SHOP_CITY"), env=("SHOP_ENV_TOWN", "SHOP_ENV_CITY"), help="Where it is."
    )
    wares = Setting({}, type=(dict, callable))
    open_late = Setting(False, type=bool, names=("SHOP_OPEN_LATE",))
    hour = Setting(9, type=int, env=("SHOP_HOUR",))
    pin = Setting(secret=True)

    renamed = {"town": Renamed("city", ("SHOP_PLACE",), str.title)}
    removed = {"street": "use 'city'"}


class ParisShop(Shop):
    city = "Paris"


class ComputedShop(Shop):
    @property
    def city(self):
        return "Oslo"


class ChoosyShop(Shop):
    def get_default_settings(self):
        return {**super().get_default_settings(), "city": "Lima", "owner": "Ana"}


@pytest.fixture(autouse=True)
def no_ambient_keys(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


# Precedence: OPTIONS > subclass attribute > Django setting > environment > default


@pytest.mark.parametrize(
    ("cls", "options", "in_settings", "in_environment", "city"),
    [
        (ParisShop, {"city": "Bonn"}, {"SHOP_CITY": "Kyiv"}, {"SHOP_ENV_CITY": "Minsk"}, "Bonn"),
        (ParisShop, {}, {"SHOP_CITY": "Kyiv"}, {"SHOP_ENV_CITY": "Minsk"}, "Paris"),
        (Shop, {}, {"SHOP_CITY": "Kyiv"}, {"SHOP_ENV_CITY": "Minsk"}, "Kyiv"),
        (Shop, {}, {}, {"SHOP_ENV_CITY": "Minsk"}, "Minsk"),
        (Shop, {}, {}, {}, "Rome"),
        (Shop, {}, {"SHOP_CITY": "Kyiv", "SHOP_TOWN": "Lviv"}, {}, "Lviv"),
        (Shop, {}, {}, {"SHOP_ENV_CITY": "Minsk", "SHOP_ENV_TOWN": "Brest"}, "Brest"),
        (Shop, {}, {}, {"SHOP_ENV_CITY": "Minsk", "SHOP_ENV_TOWN": ""}, "Minsk"),
        (Shop, {}, {"SHOP_TOWN": None, "SHOP_CITY": "Kyiv"}, {}, "Kyiv"),
        (Shop, {"city": None}, {"SHOP_CITY": "Kyiv"}, {}, "Rome"),
        (ComputedShop, {}, {"SHOP_CITY": "Kyiv"}, {}, "Oslo"),
        (ChoosyShop, {}, {"SHOP_CITY": "Kyiv"}, {}, "Lima"),
        (ChoosyShop, {"city": "Bonn"}, {}, {}, "Bonn"),
    ],
)
def test_first_place_that_gives_an_option_wins(monkeypatch, cls, options, in_settings, in_environment, city):
    for name, value in in_environment.items():
        monkeypatch.setenv(name, value)
    with override_settings(**in_settings):
        assert cls(**options).city == city


@pytest.mark.parametrize(
    ("options", "in_settings", "in_environment", "expected"),
    [
        ({"access_key": "o"}, {"AWS_S3_ACCESS_KEY_ID": "s"}, {}, "o"),
        ({}, {"AWS_S3_ACCESS_KEY_ID": "s", "AWS_ACCESS_KEY_ID": "t"}, {"AWS_S3_ACCESS_KEY_ID": "e"}, "s"),
        ({}, {"AWS_ACCESS_KEY_ID": "t"}, {"AWS_S3_ACCESS_KEY_ID": "e"}, "t"),
        ({}, {}, {"AWS_S3_ACCESS_KEY_ID": "e"}, "e"),
    ],
)
def test_access_key_of_s3_comes_from_the_first_place(monkeypatch, options, in_settings, in_environment, expected):
    for name, value in in_environment.items():
        monkeypatch.setenv(name, value)
    with override_settings(**in_settings):
        assert S3Storage(secret_key="planted", **options).access_key == expected


def test_django_settings_are_read_at_every_construction():
    with override_settings(AWS_LOCATION="first"):
        assert S3Storage().location == "first"
    with override_settings(AWS_LOCATION="second"):
        assert S3Storage().location == "second"
    assert S3Storage().location == ""


def test_option_added_by_get_default_settings_is_an_option():
    assert ChoosyShop().owner == "Ana"
    assert ChoosyShop(owner="Eva").owner == "Eva"


def test_default_is_each_instances_own():
    Shop().wares["bread"] = 1
    assert Shop().wares == {}


def test_shared_declaration_takes_names_and_what_differs_and_stays_as_it_is():
    class Stall(SettingsMixin):
        hour = Shop.hour.named("STALL_HOUR", default=7, least=6)

    with override_settings(STALL_HOUR=8):
        assert (Stall().hour, Shop().hour) == (8, 9)
    assert Stall().hour == 7
    assert Shop(hour=5).hour == 5
    with pytest.raises(ImproperlyConfigured, match="at least 6"):
        Stall(hour=5)


def test_equal_options_share_and_other_ones_do_not():
    def shared(*options):
        return process.shared(("test_settings", *options), object)

    assert shared({"a": [1, {"b": 2}]}) is shared({"a": [1, {"b": 2}]})
    assert shared({"b": 2, "a": 1}) is shared({"a": 1, "b": 2})
    assert shared({"a": 1}) is not shared({"a": 2})
    assert shared({"a": [1]}) is not shared({"a": [2]})
    assert shared(["x"], None) is not shared(None, ["x"])
    assert shared({"a": {1}}) is shared({"a": {1}})  # no key by itself
    before = shared({"a": 1})
    process.forget(("test_settings", {"a": 1}))
    assert shared({"a": 1}) is not before


def test_option_that_is_needed_is_asked_for():
    with pytest.raises(
        ImproperlyConfigured, match=r"Shop: set option 'city' \(Django setting SHOP_TOWN or SHOP_CITY\)"
    ):
        Shop(city="")._needed("city")
    assert Shop()._needed("city") == "Rome"


# As django-storages has them: option, Django settings in order of precedence, default.
OPTIONS_OF_S3 = [
    ("access_key", ("AWS_S3_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"), None),
    ("secret_key", ("AWS_S3_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"), None),
    ("security_token", ("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"), None),
    ("session_profile", ("AWS_S3_SESSION_PROFILE",), None),
    ("bucket_name", ("AWS_STORAGE_BUCKET_NAME",), None),
    ("file_overwrite", ("AWS_S3_FILE_OVERWRITE",), True),
    ("object_parameters", ("AWS_S3_OBJECT_PARAMETERS",), {}),
    ("default_acl", ("AWS_DEFAULT_ACL",), None),
    ("querystring_auth", ("AWS_QUERYSTRING_AUTH",), True),
    ("querystring_expire", ("AWS_QUERYSTRING_EXPIRE",), 3600),
    ("signature_version", ("AWS_S3_SIGNATURE_VERSION",), None),
    ("location", ("AWS_LOCATION",), ""),
    ("custom_domain", ("AWS_S3_CUSTOM_DOMAIN",), None),
    ("url_protocol", ("AWS_S3_URL_PROTOCOL",), "https:"),
    ("cloudfront_key_id", ("AWS_CLOUDFRONT_KEY_ID",), None),
    ("cloudfront_key", ("AWS_CLOUDFRONT_KEY",), None),
    ("cloudfront_signer", (), None),
    ("addressing_style", ("AWS_S3_ADDRESSING_STYLE",), None),
    ("file_name_charset", ("AWS_S3_FILE_NAME_CHARSET",), "utf-8"),
    ("gzip", ("AWS_IS_GZIPPED",), False),
    (
        "gzip_content_types",
        ("GZIP_CONTENT_TYPES",),
        ("text/css", "text/javascript", "application/javascript", "application/x-javascript", "image/svg+xml"),
    ),
    ("endpoint_url", ("AWS_S3_ENDPOINT_URL",), None),
    ("proxies", ("AWS_S3_PROXIES",), None),
    ("region_name", ("AWS_S3_REGION_NAME",), None),
    ("use_ssl", ("AWS_S3_USE_SSL",), True),
    ("verify", ("AWS_S3_VERIFY",), None),
    ("max_memory_size", ("AWS_S3_MAX_MEMORY_SIZE",), 0),
    ("use_threads", ("AWS_S3_USE_THREADS",), True),
    ("transfer_config", ("AWS_S3_TRANSFER_CONFIG",), None),
    ("client_config", ("AWS_S3_CLIENT_CONFIG",), None),
]


@pytest.mark.parametrize(("option", "names", "default"), OPTIONS_OF_S3)
def test_s3_has_the_options_of_django_storages(option, names, default):
    storage = S3Storage()
    assert getattr(storage, option) == default
    for start, name in enumerate(names):
        with override_settings(**{later: later for later in names[start:]}):
            assert storage.get_default_settings()[option] == name


# Assignment after construction


def test_assigned_attribute_is_used():
    storage = S3Storage(bucket_name="b", location="old", custom_domain="a.example")
    assert storage.url("n") == "https://a.example/old/n"
    storage.location, storage.custom_domain, storage.url_protocol = "new", "b.example", "http:"
    assert storage.url("n") == "http://b.example/new/n"


class TenantStorage(S3Storage):
    tenant = "one"

    @property
    def location(self):
        return type(self).tenant

    @property
    def object_parameters(self):
        return {"CacheControl": "max-age=60"}


def test_option_that_a_subclass_computes_is_read_at_use(monkeypatch):
    storage = TenantStorage(bucket_name="b", region_name="eu-west-1", querystring_auth=False)
    assert storage.url("n").endswith("/one/n")
    monkeypatch.setattr(TenantStorage, "tenant", "two")
    assert storage.url("n").endswith("/two/n")


def test_client_is_made_again_for_an_assigned_region():
    storage = S3Storage(bucket_name="b", region_name="eu-west-1", **KEYS)
    before = storage.client
    assert storage.client is before
    storage.region_name = "eu-west-3"
    assert storage.client.meta.region_name == "eu-west-3"
    storage.region_name = "eu-west-1"
    assert storage.client is before


def test_derived_values_are_made_once_and_again_after_a_fork(monkeypatch):
    shop, made = Shop(), []
    for _ in range(2):
        shop._derived("sign", lambda: made.append(1))
    assert len(made) == 1
    monkeypatch.setattr(process, "generation", process.generation + 1)
    shop._derived("sign", lambda: made.append(1))
    assert len(made) == 2


# Refusals


@pytest.mark.parametrize(
    ("cls", "option", "message"),
    [
        (S3Storage, "bucket_nam", "S3Storage has no option 'bucket_nam'; did you mean 'bucket_name'?"),
        (S3Storage, "file_overwite", "S3Storage has no option 'file_overwite'; did you mean 'file_overwrite'?"),
        (S3Storage, "bucket", "S3Storage has no option 'bucket'; use 'bucket_name' (AWS_STORAGE_BUCKET_NAME)"),
        (S3Storage, "acl", "S3Storage has no option 'acl'; use 'default_acl' (AWS_DEFAULT_ACL)"),
        (MemoryStorage, "overwrite", "MemoryStorage has no option 'overwrite'; did you mean 'allow_overwrite'?"),
        (MemoryStorage, "zzz", "MemoryStorage has no option 'zzz'"),
    ],
)
def test_unknown_option_is_refused_with_the_nearest_one(cls, option, message):
    with pytest.raises(ImproperlyConfigured) as refusal:
        cls(**{option: "planted"})
    assert str(refusal.value) == message


@pytest.mark.parametrize("old", list(S3Storage.removed))
def test_removed_option_is_refused_with_what_to_do(old):
    with pytest.raises(ImproperlyConfigured) as refusal:
        S3Storage(**{old: True})
    assert str(refusal.value) == f"S3Storage has no option {old!r}; {S3Storage.removed[old]}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"querystring_expire": "1h"},
            "'querystring_expire' (Django setting AWS_QUERYSTRING_EXPIRE) expects int or timedelta, not str: '1h'",
        ),
        ({"querystring_expire": True}, "expects int or timedelta, not bool: True"),
        ({"file_overwrite": "False"}, "expects bool, not str: 'False'"),
        ({"file_overwrite": 2}, "expects bool, not int: 2"),
        ({"bucket_name": b"b"}, "expects str, not bytes: b'b'"),
        ({"object_parameters": "public"}, "expects dict or callable, not str: 'public'"),
        ({"addressing_style": "vhost"}, "must be one of 'auto', 'virtual', 'path': 'vhost'"),
        ({"access_key": "id"}, "set option 'secret_key' (Django setting AWS_S3_SECRET_ACCESS_KEY or "),
        ({"secret_key": "planted"}, "set option 'access_key' (Django setting AWS_S3_ACCESS_KEY_ID or "),
        ({"session_profile": "p", **KEYS}, "not both"),
        ({"cloudfront_key": "planted"}, "set both or neither"),
        (
            {"location": "/media"},
            "option 'location' (Django setting AWS_LOCATION) is a prefix of keys and can't be '/media'",
        ),
        ({"location": "/media"}, "write 'media'"),
        ({"location": "a/../../b"}, "leaves the storage's location"),
        ({"part_size": 1024}, "must be at least 5242880: 1024"),
    ],
)
def test_bad_value_is_refused_with_what_to_do(options, message):
    with pytest.raises(ImproperlyConfigured) as refusal:
        S3Storage(**options)
    assert message in str(refusal.value)
    assert "planted" not in str(refusal.value)


def test_bad_value_of_a_django_setting_is_refused_too():
    with override_settings(SHOP_OPEN_LATE="never"), pytest.raises(ImproperlyConfigured, match="SHOP_OPEN_LATE"):
        Shop()


@pytest.mark.parametrize(
    ("cls", "option", "given", "value"),
    [
        (Shop, "hour", "10", 10),
        (Shop, "open_late", 1, True),
        (Shop, "open_late", 0, False),
        (Shop, "city", lazystr("Bonn"), "Bonn"),
        (Shop, "wares", dict, dict),
        (S3Storage, "custom_domain", False, None),
        (S3Storage, "bucket_name", "", None),
        (S3Storage, "querystring_expire", datetime.timedelta(1), datetime.timedelta(1)),
    ],
)
def test_value_is_taken_in_its_declared_type(cls, option, given, value):
    taken = getattr(cls(**{option: given}), option)
    assert (taken, type(taken)) == (value, type(value))


def test_number_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("SHOP_HOUR", "7")
    assert Shop().hour == 7


# Options of earlier releases


class OldShop(Shop):
    town = "nantes"


@pytest.mark.parametrize(
    ("cls", "options", "in_settings", "spelling"),
    [
        (Shop, {"town": "nantes"}, {}, "option 'town'"),
        (Shop, {}, {"SHOP_PLACE": "nantes"}, "SHOP_PLACE"),
        (OldShop, {}, {}, "class attribute 'town'"),
    ],
)
def test_renamed_option_is_used_with_a_warning(cls, options, in_settings, spelling):
    with (
        override_settings(**in_settings),
        pytest.warns(DeprecationWarning, match=f"{spelling} is deprecated; use option 'city'"),
    ):
        assert cls(**options).city == "Nantes"


def test_new_name_wins_over_the_old_one():
    with override_settings(SHOP_PLACE="nantes", SHOP_CITY="Kyiv"):
        assert Shop().city == "Kyiv"
    with pytest.warns(DeprecationWarning, match="'town'"):
        assert Shop(town="nantes", city="Bonn").city == "Bonn"


def test_subclass_attribute_wins_over_an_old_django_setting():
    with override_settings(SHOP_PLACE="nantes"):
        assert ParisShop().city == "Paris"


def test_secure_urls_of_s3_is_still_read():
    with override_settings(AWS_S3_SECURE_URLS=False), pytest.warns(DeprecationWarning, match="AWS_S3_URL_PROTOCOL"):
        assert S3Storage(custom_domain="a.example").url("n") == "http://a.example/n"


def test_subclass_may_name_its_own_settings_for_keys():
    class Named(S3Storage):
        access_key_names = ["MY_ACCESS_KEY"]
        secret_key_names = ["MY_SECRET_KEY"]

    with override_settings(MY_ACCESS_KEY="id", MY_SECRET_KEY="planted", AWS_ACCESS_KEY_ID="not this"):
        storage = Named()
    assert (storage.access_key, storage.secret_key) == ("id", "planted")


# Secrets

SECRETS = {
    "access_key": "planted-1",
    "secret_key": "planted-2",
    "security_token": "planted-3",
    "cloudfront_key_id": "planted-4",
    "endpoint_url": "https://user:planted-5@s3.example",
    "proxies": {"https": "http://user:planted-6@proxy.example"},
    "object_parameters": {"SSECustomerKey": "planted-7", "CacheControl": "max-age=60"},
}


def test_repr_holds_no_secret():
    storage = S3Storage(bucket_name="b", cloudfront_signer=object(), **{**SECRETS, "cloudfront_key_id": None})
    for shown in (repr(storage), str(storage), f"{storage}"):
        assert "planted" not in shown
        assert HIDDEN in shown
        assert "bucket_name='b'" in shown
        assert "proxy.example" in shown
        assert "max-age=60" in shown


def test_repr_leaves_out_what_nobody_gave():
    assert repr(S3Storage()) == "<S3Storage>"
    assert repr(S3Storage(bucket_name="b")) == "<S3Storage bucket_name='b'>"


@pytest.mark.parametrize(
    "bad",
    [{"bucket_nam": "planted-8"}, {"querystring_expire": "1h"}, {"location": "/x"}, {"cloudfront_key": ["planted-9"]}],
)
def test_error_of_a_constructor_holds_no_secret(bad):
    with pytest.raises(ImproperlyConfigured) as refusal:
        S3Storage(**{**SECRETS, "cloudfront_key": "planted-0", **bad})
    assert "planted" not in "".join(traceback.format_exception_only(refusal.value))
    assert "planted" not in str(refusal.value.__cause__)


@pytest.mark.parametrize("option", list(SECRETS))
def test_migration_holds_no_secret(option):
    storage = S3Storage(bucket_name="b", **KEYS)
    storage._constructor_args = ((), {"bucket_name": "b", option: SECRETS[option]})
    path, args, kwargs = storage.deconstruct()
    assert (path, args, kwargs) == ("storages.backends.s3.S3Storage", (), {"bucket_name": "b"})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"Metadata": {"api_token": "x", "n": 1}}, {"Metadata": {"api_token": HIDDEN, "n": 1}}),
        ({"SSECustomerKey": ""}, {"SSECustomerKey": ""}),
        ("ftp://me:pass@host/dir", f"ftp://{HIDDEN}@host/dir"),
        ("https://host/a@b", "https://host/a@b"),
        (["http://me:pass@host"], [f"http://{HIDDEN}@host"]),
        (3, 3),
    ],
)
def test_redacted(value, shown):
    assert redacted(value) == shown


def test_secret_that_is_empty_is_shown_as_it_is():
    assert Shop.pin.shown("") == "''"
    assert Shop.pin.shown("x") == HIDDEN


# Copies


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copy_after_use_has_the_options_and_a_client(clone):
    storage = S3Storage(bucket_name="b", location="media", region_name="eu-west-1", **KEYS)
    url = storage.url("n", expire=60)
    other = clone(storage)
    assert vars(other).keys() - {"_derivations"} == vars(storage).keys() - {"_derivations"}
    assert other.url("n", expire=60).partition("?")[0] == url.partition("?")[0]
    other.location = "other"
    assert storage.location == "media"


def test_nearest_is_silent_where_nothing_is_near():
    assert nearest("zzz", ["alpha", "beta"]) == ""
    assert nearest("alpa", ["alpha", "beta"]) == "; did you mean 'alpha'?"
