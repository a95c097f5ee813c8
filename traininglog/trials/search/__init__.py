"""Finding and changing trials: queries, matching records, and atomic changes of records."""
