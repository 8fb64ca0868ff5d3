"""Measurements of private files: each delivery, beside Django's FileResponse and the packages that do the same."""
