"""uploads_cors and uploads_lifecycle: what a bucket is told, and that nothing it was told before is lost."""

from __future__ import annotations

import http.client
import io
import json
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command

from storages.backends.azure_storage import AzureStorage
from storages.backends.dropbox import DropboxStorage
from storages.backends.gcloud import GoogleCloudStorage
from storages.backends.memory import MemoryStorage
from storages.backends.s3 import S3Storage
from storages.uploads import targets
from storages.uploads.services import azure, gcs, service_of
from tests.buckets import WiredBucket
from tests.conftest import running
from tests.servers.azurite import Azurite

ORIGIN = "https://example.com"
OTHERS_CORS = {"AllowedOrigins": ["https://other.example"], "AllowedMethods": ["GET"], "AllowedHeaders": ["range"]}
OTHERS_LIFE = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}


@pytest.fixture(params=["seaweedfs", "ceph"])
def bucket(request: Any) -> Iterator[WiredBucket]:
    with WiredBucket(request.getfixturevalue(request.param)) as bucket:
        yield bucket


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the storages of all fields be these."""

    def use(**storages: Any) -> None:
        monkeypatch.setattr(targets, "all_storages", lambda: storages)

    return use


@pytest.fixture
def s3(bucket: WiredBucket, use: Any) -> S3Storage:
    storage = bucket.storage(location="site", unsigned_headers="refused")
    use(uploads=storage)
    return storage


def run(command: str, *arguments: str, **options: Any) -> tuple[str, str]:
    """Return what a command prints, and what it says beside it."""
    out, err = io.StringIO(), io.StringIO()
    call_command(command, *arguments, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


def cors(*arguments: str, origin: str = ORIGIN) -> str:
    return run("uploads_cors", f"--origin={origin}", *arguments)[0]


def preflight(url: str, origin: str, method: str, headers: str) -> Any:
    """Ask as a browser does before it sends."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    try:
        connection.request("OPTIONS", f"{parts.path}?{parts.query}", headers=asked)
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


# S3, on real servers


def test_preflight_succeeds_once_the_rules_are_applied(s3, bucket):
    url = f"{bucket.server.endpoint_url}/{bucket.name}/site/a.txt"
    headers = "content-type,if-none-match,x-amz-checksum-sha256"
    assert preflight(url, ORIGIN, "PUT", headers).headers["Access-Control-Allow-Origin"] is None
    assert "applied" in cors("--apply")
    answer = preflight(url, ORIGIN, "PUT", headers)
    assert answer.status in (200, 204)
    assert answer.headers["Access-Control-Allow-Origin"] in (ORIGIN, "*")
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    assert "x-amz-checksum-sha256" in answer.headers["Access-Control-Allow-Headers"].lower()
    other = preflight(url, "https://evil.example", "PUT", headers)
    assert other.headers["Access-Control-Allow-Origin"] is None


def test_earlier_rule_for_every_origin_is_no_obstacle(s3, bucket):
    modules = {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]}
    bucket.client.put_bucket_cors(Bucket=bucket.name, CORSConfiguration={"CORSRules": [modules]})
    cors("--apply")
    url = f"{bucket.server.endpoint_url}/{bucket.name}/site/a.txt"
    answer = preflight(url, ORIGIN, "PUT", "content-type")
    assert answer.headers["Access-Control-Allow-Origin"] in (ORIGIN, "*")
    assert len(bucket.client.get_bucket_cors(Bucket=bucket.name)["CORSRules"]) == 2


def test_no_header_is_exposed(s3):
    rules = json.loads(cors())["CORSRules"]
    assert rules[0]["AllowedOrigins"] == [ORIGIN]
    assert set(rules[0]["AllowedMethods"]) <= {"POST", "PUT"}
    assert "ExposeHeaders" not in rules[0]


def test_rules_of_others_stay(s3, bucket):
    rules = {"CORSRules": [OTHERS_CORS]}
    bucket.client.put_bucket_cors(Bucket=bucket.name, CORSConfiguration=rules)
    bucket.client.put_bucket_lifecycle_configuration(
        Bucket=bucket.name, LifecycleConfiguration={"Rules": [OTHERS_LIFE]}
    )
    cors("--apply")
    run("uploads_lifecycle", "--apply")
    kept = bucket.client.get_bucket_cors(Bucket=bucket.name)["CORSRules"]
    assert [rule for rule in kept if rule["AllowedOrigins"] == OTHERS_CORS["AllowedOrigins"]]
    life = bucket.client.get_bucket_lifecycle_configuration(Bucket=bucket.name)["Rules"]
    assert {rule["ID"] for rule in life} >= {"logs", "storages-uploads-staging-site"}
    assert next(rule for rule in life if rule["ID"] == "logs")["Expiration"]["Days"] == 30


def test_second_time_changes_nothing_and_another_origin_is_added(s3, bucket):
    cors("--apply")
    assert "as they should be" in cors("--apply")
    cors("--apply", origin="https://www.example.com")
    rules = bucket.client.get_bucket_cors(Bucket=bucket.name)["CORSRules"]
    assert [sorted(rule["AllowedOrigins"]) for rule in rules] == [[ORIGIN, "https://www.example.com"]]


def test_lifecycle_ends_parts_and_what_is_staged(s3, bucket):
    run("uploads_lifecycle", "--apply")
    assert "as they should be" in run("uploads_lifecycle", "--apply")[0]
    rules = bucket.client.get_bucket_lifecycle_configuration(Bucket=bucket.name)["Rules"]
    by_id = {rule["ID"]: rule for rule in rules}
    staging, parts = by_id["storages-uploads-staging-site"], by_id["storages-uploads-parts-site"]
    assert (staging["Filter"]["Prefix"], staging["Expiration"]["Days"]) == ("site/uploads-staging/", 2)
    assert parts["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert parts["Filter"]["Prefix"] == "site/"


def test_storages_that_share_a_bucket_keep_their_rules(s3, bucket, use):
    other = bucket.storage(location="films", unsigned_headers=None)  # signs POST forms alone
    use(uploads=s3, films=other)
    cors("--apply")
    run("uploads_lifecycle", "--apply")
    (rule,) = bucket.client.get_bucket_cors(Bucket=bucket.name)["CORSRules"]
    assert sorted(rule["AllowedMethods"]) == ["POST", "PUT"]
    life = bucket.client.get_bucket_lifecycle_configuration(Bucket=bucket.name)["Rules"]
    staging = {rule["Filter"]["Prefix"] for rule in life if "Expiration" in rule}
    assert staging == {"site/uploads-staging/", "films/uploads-staging/"}
    for command in (cors, lambda *arguments: run("uploads_lifecycle", *arguments)[0]):
        assert command("--apply").count("as they should be") == 2


def test_check_tells_of_a_bucket_without_the_rules(s3, bucket):
    for command in ("uploads_cors --origin=https://example.com", "uploads_lifecycle"):
        with pytest.raises(CommandError, match="Not as it should be for uploads"):
            run(*command.split(), "--check")
        run(*command.split(), "--apply")
        assert "as they should be" in run(*command.split(), "--check")[0]
    with pytest.raises(CommandError, match="Not as it should be"):
        cors("--check", origin="https://www.example.com")


def test_nothing_is_changed_without_apply(s3, bucket):
    cors()
    run("uploads_lifecycle")
    with pytest.raises(CommandError):
        cors("--check")
    for ask in (bucket.client.get_bucket_cors, bucket.client.get_bucket_lifecycle_configuration):
        with pytest.raises(bucket.client.exceptions.ClientError):
            ask(Bucket=bucket.name)


# What is printed


@pytest.fixture
def offline(use: Any) -> S3Storage:
    storage = S3Storage(bucket_name="media", access_key="a", secret_key="b", region_name="eu-west-1")
    use(uploads=storage)
    return storage


def test_xml_is_what_s3_takes(offline):
    root = ET.fromstring(cors("--offline", "--format=xml"))
    space = {"s3": "http://s3.amazonaws.com/doc/2006-03-01/"}
    assert root.tag.endswith("CORSConfiguration")
    assert [one.text for one in root.findall("s3:CORSRule/s3:AllowedOrigin", space)] == [ORIGIN]
    assert len(root.findall("s3:CORSRule/s3:AllowedHeader", space)) > 3
    life = ET.fromstring(run("uploads_lifecycle", "--offline", "--format=xml")[0])
    assert [one.text for one in life.findall("s3:Rule/s3:Expiration/s3:Days", space)] == ["2"]
    assert [one.text for one in life.findall("s3:Rule/s3:Filter/s3:Prefix", space)] == ["uploads-staging/", None]


@pytest.mark.parametrize(
    ("command", "verb"),
    [("uploads_cors", "put-bucket-cors"), ("uploads_lifecycle", "put-bucket-lifecycle-configuration")],
)
def test_cli_is_a_command_of_aws(offline, command, verb):
    origin = [f"--origin={ORIGIN}"] if command == "uploads_cors" else []
    printed = run(command, "--offline", "--format=cli", *origin)[0]
    assert printed.startswith(f"aws s3api {verb} --bucket media --")
    assert json.loads(printed.partition("'")[2].rpartition("'")[0])


def test_cli_survives_a_shell(offline, monkeypatch):
    rule = {"ID": "Anna's", "AllowedOrigins": ["*"], "AllowedMethods": ["GET"]}
    monkeypatch.setattr("storages.uploads.services.s3.read_cors", lambda storage: [rule])
    words = shlex.split(run("uploads_cors", "--format=cli", f"--origin={ORIGIN}")[0])
    assert words[:5] == ["aws", "s3api", "put-bucket-cors", "--bucket", "media"]
    assert json.loads(words[-1])["CORSRules"][1] == rule


def test_star_in_a_command_for_azure_is_no_name_of_a_file():
    rule = {"allowed_origins": ["*"], "allowed_methods": ["GET"], "allowed_headers": ["*"], "exposed_headers": ["*"]}
    storage = SimpleNamespace(account_name="account")
    printed = azure.shown(storage, "cors", [{**rule, "max_age_in_seconds": 60}], "cli")
    assert " * " not in printed
    assert shlex.split(printed).count("*") == 3


def test_days_follow_how_long_uploads_may_take(offline, settings):
    settings.UPLOADS_EXPIRE = 3 * 24 * 3600 + 1
    rules = json.loads(run("uploads_lifecycle", "--offline")[0])["Rules"]
    assert rules[0]["Expiration"] == {"Days": 5}
    with pytest.raises(CommandError, match="up to 4"):
        run("uploads_lifecycle", "--offline", "--days=3")


@pytest.mark.parametrize("prefix", ["", "/"])
def test_whole_bucket_is_never_staging(offline, settings, prefix):
    settings.UPLOADS_STAGING = prefix
    with pytest.raises(CommandError, match="whole bucket"):
        run("uploads_lifecycle", "--offline")


@pytest.mark.parametrize(
    "origin",
    [
        *("*", "https://*.example.com", "example.com", "https://example.com/", "https://example.com/a", "null", ""),
        *("ftp://example.com", "https://", "https://a@example.com", "https://Example.com", "https://example.com:x"),
    ],
)
def test_what_is_no_origin_is_refused(offline, origin):
    with pytest.raises(CommandError):
        cors("--offline", origin=origin)


@pytest.mark.parametrize("origin", ["https://example.com:8443", "http://localhost:8000", "http://[::1]:8000"])
def test_origin_may_have_a_port(offline, origin):
    assert origin in cors("--offline", origin=origin)


def test_any_origin_has_to_be_meant(offline):
    assert json.loads(cors("--offline", "--any-origin", origin="*"))["CORSRules"][0]["AllowedOrigins"] == ["*"]


def test_origin_is_required(offline):
    with pytest.raises(CommandError, match="origin"):
        run("uploads_cors", "--offline")


def test_apply_is_never_blind(offline):
    with pytest.raises(CommandError, match="merges"):
        cors("--offline", "--apply")


@pytest.mark.parametrize("other", ["--offline", "--apply"])
def test_check_is_a_comparison_and_no_more(offline, other):
    with pytest.raises(CommandError, match="--check c"):
        cors("--check", other)


# The other services


class Bucket:
    """A bucket of Google's, as far as its rules go."""

    def __init__(self) -> None:
        self._cors: list[Any] = [{"origin": ["https://other.example"], "method": ["GET"]}]
        self.cors = [*self._cors]
        self._life: list[Any] = [{"action": {"type": "Delete"}, "condition": {"age": 90}}]
        self.lifecycle_rules = iter(self._life)
        self.patched = 0

    def patch(self) -> None:
        self.patched += 1


@pytest.fixture
def google(use: Any, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    kept = Bucket()
    storage = GoogleCloudStorage(bucket_name="media", project_id="a")
    storage._client = SimpleNamespace(get_bucket=lambda name: kept)
    monkeypatch.setattr(targets, "kinds_of", lambda storage: {"put": None, "resumable": None})
    use(uploads=storage)
    return kept


def test_gcs_rules_are_merged(google):
    cors("--apply")
    assert google.cors[0] == {"origin": ["https://other.example"], "method": ["GET"]}
    assert google.cors[1] == {
        "origin": [ORIGIN],
        "method": ["PUT"],
        "responseHeader": gcs.HEADERS,
        "maxAgeSeconds": 3600,
    }
    cors("--apply", origin="https://www.example.com")
    assert [rule["origin"] for rule in google.cors[1:]] == [[ORIGIN, "https://www.example.com"]]
    assert "as they should be" in cors("--apply")
    run("uploads_lifecycle", "--apply")
    staging = {"action": {"type": "Delete"}, "condition": {"age": 2, "matchesPrefix": ["uploads-staging/"]}}
    assert [*google.lifecycle_rules] == [{"action": {"type": "Delete"}, "condition": {"age": 90}}, staging]


def test_gcs_lifecycle_replaces_its_own_rule_alone(google):
    before = [{"action": {"type": "Delete"}, "condition": {"age": 9, "matchesPrefix": ["uploads-staging/"]}}]
    google.lifecycle_rules = iter(before)
    run("uploads_lifecycle", "--apply", "--days=4")
    assert [rule["condition"]["age"] for rule in google.lifecycle_rules] == [4]


@pytest.mark.parametrize(
    ("command", "flag"), [("uploads_cors", "--cors-file"), ("uploads_lifecycle", "--lifecycle-file")]
)
def test_gcs_cli(google, command, flag):
    origin = [f"--origin={ORIGIN}"] if command == "uploads_cors" else []
    assert f"gcloud storage buckets update gs://media {flag}=" in run(command, "--format=cli", *origin)[0]
    with pytest.raises(CommandError):
        run(command, "--format=xml", *origin)


@pytest.fixture(scope="module")
def azurite(pytestconfig: pytest.Config) -> Iterator[Azurite]:
    yield from running(Azurite(), pytestconfig)


@pytest.fixture
def microsoft(azurite: Azurite, use: Any, monkeypatch: pytest.MonkeyPatch) -> AzureStorage:
    storage = AzureStorage(connection_string=azurite.connection_string(), azure_container=azurite.make_bucket())
    storage.service_client.set_service_properties(cors=[])
    monkeypatch.setattr(targets, "kinds_of", lambda storage: {"put": None, "blocks": None})
    use(uploads=storage)
    return storage


def test_azure_rules_are_merged_and_a_preflight_succeeds(microsoft, azurite):
    from azure.storage.blob import CorsRule

    other = CorsRule(["https://other.example"], ["GET"], max_age_in_seconds=60)
    microsoft.service_client.set_service_properties(cors=[other])
    cors("--apply")
    cors("--apply", origin="https://www.example.com")
    assert "as they should be" in cors("--apply")
    rules = azure.read_cors(microsoft)
    assert [rule["allowed_origins"] for rule in rules] == [
        ["https://other.example"],
        [ORIGIN, "https://www.example.com"],
    ]
    url = f"{azurite.endpoint_url}/{microsoft.azure_container}/a.txt"
    answer = preflight(url, ORIGIN, "PUT", "content-type,x-ms-blob-type")
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)


def test_azure_takes_five_rules(microsoft):
    from azure.storage.blob import CorsRule

    rules = [CorsRule([f"https://{number}.example"], ["GET"]) for number in range(5)]
    microsoft.service_client.set_service_properties(cors=rules)
    with pytest.raises(CommandError):
        cors("--apply")
    assert len(azure.read_cors(microsoft)) == 5


def test_azure_lifecycle_is_printed_and_not_applied(microsoft):
    printed = json.loads(run("uploads_lifecycle")[0])
    prefix = printed["rules"][0]["definition"]["filters"]["prefixMatch"]
    assert prefix == [f"{microsoft.azure_container}/uploads-staging/"]
    with pytest.raises(CommandError, match="uploads"):
        run("uploads_lifecycle", "--apply")
    assert "management-policy create" in run("uploads_lifecycle", "--format=cli")[0]
    assert "az storage cors add" in cors("--format=cli")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (MemoryStorage, "tus"),
        (lambda: DropboxStorage(oauth2_access_token="a"), "Dropbox"),
    ],
)
@pytest.mark.parametrize("command", ["uploads_cors", "uploads_lifecycle"])
def test_other_storages_need_nothing_and_are_told_so(use, make, words, command):
    use(uploads=make())
    origin = [f"--origin={ORIGIN}"] if command == "uploads_cors" else []
    out, err = run(command, "--apply", *origin)
    assert (out, words in err) == ("", True)


def test_storage_that_fails_leaves_the_others_their_turn(google, use):
    broken = S3Storage(bucket_name="a", access_key="a", secret_key="b", endpoint_url="http://127.0.0.1:1")
    all_of_them = {"broken": broken, **targets.all_storages()}
    use(**all_of_them)
    with pytest.raises(CommandError, match="broken"):
        cors("--apply")
    assert google.patched == 1


def test_storage_is_named_by_its_alias(settings):
    settings.STORAGES = {"uploads": {"BACKEND": "storages.backends.memory.MemoryStorage"}}
    assert "tus" in run("uploads_cors", f"--origin={ORIGIN}", "--storage=uploads")[1]
    with pytest.raises(CommandError, match="nothing"):
        run("uploads_cors", f"--origin={ORIGIN}", "--storage=nothing")


def test_subclass_of_a_project_is_known():
    own = type("OwnStorage", (S3Storage,), {"__module__": "project.storages"})
    assert service_of(own(bucket_name="a")).__name__ == "storages.uploads.services.s3"
