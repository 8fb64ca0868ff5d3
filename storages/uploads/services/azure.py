"""Rules of an account of Azure: CORS is the whole account's, and the lifecycle is not set with its keys."""

from __future__ import annotations

import json
import shlex
from typing import Any

from storages.uploads.services import MAX_AGE, Rules, Unsupported, with_origins

HEADERS = "content-type,x-ms-blob-type"
MOST_RULES = 5  # learn.microsoft.com/rest/api/storageservices/cross-origin-resource-sharing--cors--support
_NAMES = ("allowed_origins", "allowed_methods", "allowed_headers", "exposed_headers", "max_age_in_seconds")
_LISTS = _NAMES[:4]


def cors(storage: Any, origins: list[str], before: Rules) -> Rules:
    """Return the CORS rules with ours; its origins of an earlier call stay. Raises Unsupported past five rules."""
    rule = {
        "allowed_origins": origins,
        "allowed_methods": ["PUT"],
        "allowed_headers": HEADERS.split(","),
        "exposed_headers": [],
        "max_age_in_seconds": MAX_AGE,
    }
    merged = with_origins(rule, "allowed_origins", before)
    if len(merged) > MOST_RULES:
        raise Unsupported(f"Azure takes {MOST_RULES} rules for an account, and has as many: make one of two of them")
    return merged


def read_cors(storage: Any) -> Rules:
    rules = storage.service_client.get_service_properties()["cors"] or []
    return [{name: _listed(name, getattr(rule, name)) for name in _NAMES} for rule in rules]


def write_cors(storage: Any, rules: Rules) -> None:
    from azure.storage.blob import CorsRule

    storage.service_client.set_service_properties(cors=[CorsRule(**rule) for rule in rules])


def lifecycle(storage: Any, prefix: str, days: int, before: Rules) -> Rules:
    """Return the rule of a management policy: what lies under ``prefix`` goes. Blocks go by themselves in a week."""
    return [
        {
            "name": "storages-uploads-staging",
            "enabled": True,
            "type": "Lifecycle",
            "definition": {
                "actions": {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": days}}},
                "filters": {"blobTypes": ["blockBlob"], "prefixMatch": [f"{storage.azure_container}/{prefix}"]},
            },
        }
    ]


def read_lifecycle(storage: Any) -> Rules:
    return []  # it is not among what an account's keys, or a token for blobs, can see


def write_lifecycle(storage: Any, rules: Rules) -> None:
    raise Unsupported(
        "an account's policy is set by who manages it, not with what the storage has: add the printed rule with "
        "'az storage account management-policy', which replaces all rules, so begin with those that 'show' tells"
    )


def shown(storage: Any, what: str, rules: Rules, form: str) -> str:
    """Return rules in the form json, or cli: commands of Microsoft's own. Raises ValueError for xml."""
    if form == "xml":
        raise ValueError("Microsoft's tools take JSON and options")
    if form == "json":
        return json.dumps(rules if what == "cors" else {"rules": rules}, indent=2)
    if what == "cors":
        return "\n".join(_command(storage, rule) for rule in rules)
    return (
        f"cat > policy.json <<'END'\n{json.dumps({'rules': rules}, indent=2)}\nEND\n"
        "# This replaces the policy: put what 'az storage account management-policy show' tells into the file first.\n"
        f"az storage account management-policy create --account-name {storage.account_name} --policy @policy.json"
    )


def _command(storage: Any, rule: dict[str, Any]) -> str:
    exposed = ["--exposed-headers", *rule["exposed_headers"]] if rule["exposed_headers"] else []
    words = ["az", "storage", "cors", "add", "--account-name", storage.account_name, "--services", "b", "--methods"]
    words += [*rule["allowed_methods"], "--origins", *rule["allowed_origins"]]
    words += ["--allowed-headers", *rule["allowed_headers"], *exposed, "--max-age", str(rule["max_age_in_seconds"])]
    return shlex.join(words)  # a star is no name of a file


def _listed(name: str, value: Any) -> Any:
    if name not in _LISTS:
        return value
    words = value.split(",") if isinstance(value, str) else list(value or [])
    return [word for word in words if word]
