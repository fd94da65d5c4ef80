"""Past answers computed again, from a checkpoint and the log: read-only, beside running workers."""
