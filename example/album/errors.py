"""What a storage raises, in words for the person in front of the page."""

from botocore import exceptions as botocore
from django.conf import settings

NO_ANSWER = (ConnectionError, TimeoutError)
# The storage raises Python's own classes for what it understands, and passes the rest of botocore's through.
STORAGE_ERRORS = (OSError, botocore.BotoCoreError, botocore.ClientError)


def explain(error, outcome):
    """Return the sentence that a person reads: what did not happen, why, and what to do."""
    if isinstance(error, NO_ANSWER):
        return (
            f"{outcome} The {settings.DEMO['kind']} at {settings.DEMO['endpoint']} does not answer. "
            "If it was stopped, stop the demo with Ctrl-C and start it again."
        )
    if isinstance(error, PermissionError):
        return f"{outcome} The {settings.DEMO['kind']} refused: {error}"
    return f"{outcome} The storage reported: {error}"
