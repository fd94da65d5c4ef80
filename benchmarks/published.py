"""Figures of systems that cannot be run here, as their authors publish them.

Each is of other data on another machine: it says what to expect of a system, and orders nothing.
"""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """What somebody says of a system, and where."""

    system: str
    figure: str
    source: str


PUBLISHED = (
    Published(
        "Serenade (VMIS-kNN)",
        "answers in < 7 ms (p90, over HTTP), 1,000 a second on 2 vCPUs; 6.5 million items, "
        "582 million events, index of about 11 GB; rebuilt offline",
        "README of github.com/bolcom/serenade; SIGMOD 2022, doi 10.1145/3514221.3517901",
    ),
    Published(
        "Metarank",
        "ranks again what others retrieved: 10-30 ms a request, imports 1,000-3,000 events/s, "
        "1-10 GiB of Redis",
        "doc/performance.md of github.com/metarank/metarank",
    ),
    Published(
        "Monolith (ByteDance)",
        "trains online from Kafka; serving gets the parameters at intervals of minutes",
        "arXiv 2209.07663",
    ),
)
