"""A project of django-buckets, with our modules in the place of its own."""
