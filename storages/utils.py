"""Helpers under the names of django-storages, for code that imports them."""

from django.utils.encoding import force_bytes as to_bytes  # placeholder until the helper's file lands
