"""Recommenders that answer over HTTP, side by side: `python -m benchmarks.http_peers --help`."""
