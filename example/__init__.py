"""A small photo album whose media and static files live in a bucket; ``make demo`` runs it."""
