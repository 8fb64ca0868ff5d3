"""Time and memory of our S3 backend beside django-storages, in one run: ``python -m benchmarks``."""
