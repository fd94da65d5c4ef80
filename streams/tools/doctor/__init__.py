"""`millrace doctor`: what would stop a worker, or cost it something, and what to do about it."""
