"""Private files: served behind a permission, from any storage."""
