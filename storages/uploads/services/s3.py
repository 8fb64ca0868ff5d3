"""Rules of a bucket of S3, or of a service that speaks it."""

from __future__ import annotations

import json
import shlex
from typing import Any
from xml.sax.saxutils import escape

from storages.uploads.services import MAX_AGE, Rules, joined, put_in
from storages.uploads.targets import kinds_of

CORS_ID, STAGING_ID, PARTS_ID = "storages-uploads", "storages-uploads-staging", "storages-uploads-parts"
# Parts are nobody's once their upload is given up; other writers of the bucket may take longer than a browser.
LEAST_DAYS_OF_PARTS = 7
METHODS = {"post": "POST", "put": "PUT", "multipart": "PUT"}
# What grants may sign. Nothing is exposed: this server lists the parts itself, so that no page reads an ETag.
HEADERS = ["content-type", "cache-control", "content-disposition", "content-encoding", "content-language"]
HEADERS += ["if-none-match", "x-amz-*"]
_NONE = {"NoSuchCORSConfiguration", "NoSuchLifecycleConfiguration"}


def cors(storage: Any, origins: list[str], before: Rules) -> Rules:
    """Return the CORS rules with ours; its origins and methods of an earlier call stay.

    That call may have been for another storage in the bucket, which signs other kinds.
    """
    known: dict[str, Any] = next((rule for rule in before if rule.get("ID") == CORS_ID), {})
    methods = {METHODS[kind] for kind in kinds_of(storage)}
    rule = {
        "ID": CORS_ID,
        "AllowedOrigins": joined(known.get("AllowedOrigins", []), origins),
        "AllowedMethods": sorted(methods.union(known.get("AllowedMethods", []))),
        "AllowedHeaders": HEADERS,
        "MaxAgeSeconds": MAX_AGE,
    }
    # First: SeaweedFS answers by the first rule for the origin, whatever its method.
    return [rule, *(one for one in before if one.get("ID") != CORS_ID)]


def read_cors(storage: Any) -> Rules:
    return _asked(storage.client, storage.client.get_bucket_cors, storage.bucket_name, "CORSRules")


def write_cors(storage: Any, rules: Rules) -> None:
    storage.client.put_bucket_cors(Bucket=storage.bucket_name, CORSConfiguration={"CORSRules": rules})


def lifecycle(storage: Any, prefix: str, days: int, before: Rules) -> Rules:
    """Return the lifecycle rules with ours: what lies under ``prefix`` goes, and so do parts without an end."""
    root = _root(storage)
    staging: dict[str, Any] = {"Filter": {"Prefix": prefix}, "Expiration": {"Days": days}}
    stale = {"DaysAfterInitiation": max(days, LEAST_DAYS_OF_PARTS)}
    parts: dict[str, Any] = {"Filter": {"Prefix": root}, "AbortIncompleteMultipartUpload": stale}
    ours = [
        {"ID": _id_at(root, STAGING_ID), "Status": "Enabled", **staging},
        {"ID": _id_at(root, PARTS_ID), "Status": "Enabled", **parts},
    ]
    return put_in(before, ours, _has_id_of)


def read_lifecycle(storage: Any) -> Rules:
    ask = storage.client.get_bucket_lifecycle_configuration
    return _asked(storage.client, ask, storage.bucket_name, "Rules")


def write_lifecycle(storage: Any, rules: Rules) -> None:
    storage.client.put_bucket_lifecycle_configuration(
        Bucket=storage.bucket_name, LifecycleConfiguration={"Rules": rules}
    )


def shown(storage: Any, what: str, rules: Rules, form: str) -> str:
    """Return rules in the form json, xml, or cli: a command of AWS's own."""
    document = {"CORSRules" if what == "cors" else "Rules": rules}
    if form == "json":
        return json.dumps(document, indent=2)
    if form == "xml":
        return _xml(what, rules)
    verb = "put-bucket-cors --cors" if what == "cors" else "put-bucket-lifecycle-configuration --lifecycle"
    endpoint = f" --endpoint-url {shlex.quote(storage.endpoint_url)}" if storage.endpoint_url else ""
    command = verb.replace(" ", f"{endpoint} --bucket {shlex.quote(storage.bucket_name)} ")
    return f"aws s3api {command}-configuration {shlex.quote(json.dumps(document))}"


def _asked(client: Any, ask: Any, bucket: str, key: str) -> Rules:
    try:
        return list(ask(Bucket=bucket).get(key, []))
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in _NONE:
            return []
        raise


# In a list of rules, what a name of boto3 is called in the document.
_SINGULAR = {"AllowedOrigins": "AllowedOrigin", "AllowedMethods": "AllowedMethod", "AllowedHeaders": "AllowedHeader"}
_SINGULAR |= {"ExposeHeaders": "ExposeHeader", "Transitions": "Transition", "Tags": "Tag"}
_SINGULAR |= {"NoncurrentVersionTransitions": "NoncurrentVersionTransition"}


def _xml(what: str, rules: Rules) -> str:
    root, one = ("CORSConfiguration", "CORSRule") if what == "cors" else ("LifecycleConfiguration", "Rule")
    body = "".join(_element(one, rule, 1) for rule in rules)
    return f'<{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">\n{body}</{root}>'


def _element(name: str, value: Any, depth: int) -> str:
    space, name = "  " * depth, _SINGULAR.get(name, name)
    if isinstance(value, list):
        return "".join(_element(name, one, depth) for one in value)
    if isinstance(value, dict):
        inner = "".join(_element(key, one, depth + 1) for key, one in value.items())
        return f"{space}<{name}>\n{inner}{space}</{name}>\n"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"{space}<{name}>{escape(text)}</{name}>\n"


def _has_id_of(one: dict[str, Any], rule: dict[str, Any]) -> bool:
    return bool(one.get("ID") == rule["ID"])


def _id_at(root: str, name: str) -> str:
    """Return the ID of a rule for one location: a bucket may have several, each with rules of its own."""
    return f"{name}-{root}".rstrip("-/")[:255]  # the most that S3 takes


def _root(storage: Any) -> str:
    location = storage.location.strip("/")
    return f"{location}/" if location else ""
