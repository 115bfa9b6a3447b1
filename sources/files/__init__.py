"""Files as sources: one reader a format, each giving records with their row numbers, and rejects."""
