"""What the protocol's ``enforced`` means, in plain words."""

from typing import NamedTuple

from django.conf import settings

KINDS = {
    "put": "One signed request: the browser puts the file under the one name that is signed.",
    "post": "One signed form: the browser posts the file by a policy that names key, size and type.",
    "multipart": "Signed parts: the browser sends several at a time, and this site has the server join them.",
    "resumable": "A session that this site opened: the browser sends one range after the other.",
    "blocks": "Signed blocks: the browser sends several at a time, and this site commits their list.",
    "link": "A link for one upload: the browser posts the file to it.",
    "tus": "Pieces through this site, which keeps them on its disk until all are there and then stores the file.",
    "form": "An ordinary form post through this site, as without JavaScript.",
}
# What is refused while the bytes come, by what the protocol says of it.
REFUSED = {
    "key": {"signed": "any other name"},
    "size": {"exact": "any other size", "range": "a size outside of the limits"},
    "type": {"signed": "any other type"},
    "checksum": {"signed": "other content than announced"},
    "overwrite": {"denied": "a second write to the name", "pin": "a second write to the name"},
}
LATER = {
    "size": {"finish": "the size"},
    "type": {"finish": "the type"},
    "checksum": {"finish": "the checksum"},
}
COPIED = {"overwrite": {"promote": "A second write would only hit what this site has copied the file from."}}
# Whatever a server enforces.
ALWAYS = "the first bytes"


class Way(NamedTuple):
    """One kind of upload, and who looks at what."""

    kind: str
    told: str
    who: str  # refuses
    refused: list[str]
    later: list[str]  # what this site looks at, when all has come
    copied: str  # what becomes of a second write, where it is not refused


def way(kind, enforced):
    """Return a Way by what begin answers as ``enforced``."""
    told = [(promise, enforced.get(promise)) for promise in REFUSED]
    refused = [REFUSED[promise][said] for promise, said in told if said in REFUSED[promise]]
    later = [LATER[promise][said] for promise, said in told if said in LATER.get(promise, ())]
    copied = COPIED["overwrite"].get(enforced.get("overwrite"), "")
    return Way(kind, KINDS[kind], who(kind), refused, [*later, ALWAYS], copied)


def who(kind):
    """Return who takes the bytes of a kind."""
    return "This site" if kind in ("tus", "form") else f"The {settings.DEMO['kind']}"


def for_scripts():
    """Return the words that the page's script needs."""
    by_kind = {kind: who(kind) for kind in KINDS}
    return {"refused": REFUSED, "later": LATER, "always": ALWAYS, "copied": COPIED, "who": by_kind}
