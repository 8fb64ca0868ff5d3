"""The Django app of the page with direct uploads."""

from django.apps import AppConfig


class UploadsConfig(AppConfig):
    """Direct uploads; counts what each one costs."""

    name = "example.uploads"

    def ready(self):
        from example.uploads import spending  # which needs the models

        spending.watch()
