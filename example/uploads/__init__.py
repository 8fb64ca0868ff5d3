"""Files that a browser sends straight to the storage."""
