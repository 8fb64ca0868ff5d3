"""The models of this app's tests."""

from tests.uploads.form_models import *  # noqa: F403
