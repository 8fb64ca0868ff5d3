"""Rules of a bucket of Google Cloud Storage."""

from __future__ import annotations

import json
from typing import Any

from storages.uploads.services import MAX_AGE, Rules, put_in, with_origins

# One list for what a page may send and what it may read; of a resumable upload that is how far it has come.
HEADERS = ["Content-Type", "Content-Range", "Range", "x-goog-content-length-range", "x-goog-if-generation-match"]


def cors(storage: Any, origins: list[str], before: Rules) -> Rules:
    """Return the CORS rules with ours; its origins of an earlier call stay."""
    rule = {"origin": origins, "method": ["PUT"], "responseHeader": HEADERS, "maxAgeSeconds": MAX_AGE}
    return with_origins(rule, "origin", before)


def read_cors(storage: Any) -> Rules:
    return [dict(rule) for rule in storage.client.get_bucket(storage.bucket_name).cors]


def write_cors(storage: Any, rules: Rules) -> None:
    bucket = storage.client.get_bucket(storage.bucket_name)
    bucket.cors = rules
    bucket.patch()


def lifecycle(storage: Any, prefix: str, days: int, before: Rules) -> Rules:
    """Return the lifecycle rules with ours: what lies under ``prefix`` goes. A session ends by itself in a week."""
    rule = {"action": {"type": "Delete"}, "condition": {"age": days, "matchesPrefix": [prefix]}}
    return put_in(before, [rule], lambda one, rule: _is_of(one, prefix))


def read_lifecycle(storage: Any) -> Rules:
    return [dict(rule) for rule in storage.client.get_bucket(storage.bucket_name).lifecycle_rules]


def write_lifecycle(storage: Any, rules: Rules) -> None:
    bucket = storage.client.get_bucket(storage.bucket_name)
    bucket.lifecycle_rules = rules
    bucket.patch()


def shown(storage: Any, what: str, rules: Rules, form: str) -> str:
    """Return rules in the form json, or cli: a command of Google's own. Raises ValueError for xml."""
    if form == "xml":
        raise ValueError("Google's tools take JSON")
    document = json.dumps(rules if what == "cors" else {"rule": rules}, indent=2)
    if form == "json":
        return document
    return (
        f"cat > {what}.json <<'END'\n{document}\nEND\n"
        f"gcloud storage buckets update gs://{storage.bucket_name} --{what}-file={what}.json"
    )


def _is_of(rule: dict[str, Any], prefix: str) -> bool:
    condition = {**rule.get("condition", {})}
    condition.pop("age", None)
    return dict(rule.get("action", {})) == {"type": "Delete"} and condition == {"matchesPrefix": [prefix]}
