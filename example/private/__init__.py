"""Files that only their owners see, and whom these give a link."""
