"""Measurements of direct uploads, beside the same file posted to Django in a form."""
