"""What every page says about the server."""

from django.conf import settings


def site(_request):
    """Return the facts of ``make demo BACKEND=...``."""
    return {"demo": settings.DEMO}
