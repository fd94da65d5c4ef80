"""Millrace beside its peers on many streams at once; `python -m benchmarks.streams --help`."""
