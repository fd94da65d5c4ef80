"""What came of a run, in figures."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Any

from streams.settings import Settings
from streams.tools.torture.account import Account
from streams.tools.torture.fleet import Fleet
from streams.tools.torture.traffic import Subscriber, Traffic

NAMED = 10
"""How many of what went wrong are named."""


def counts(
    settings: Settings,
    done: Counter[str],
    found: Account,
    traffic: Traffic,
    subscriber: Subscriber,
    fleet: Fleet,
) -> dict[str, Any]:
    """What was sent, what was done to whom, and what the topics hold of it."""
    recoveries = sorted(fleet.recovery_seconds)
    return {
        "events": traffic.events,
        "lost": len(found.lost) + traffic.events - found.count("event"),
        "duplicates": len(found.doubled),
        "subscriber_duplicates": subscriber.twice,
        "out_of_order": found.out_of_order,
        "malformed": traffic.malformed,
        "repeats": traffic.repeats,
        "dead_letters": found.dead_letters,
        "unburied": len(found.unburied),
        "answers": found.answered,
        "lost_ids": found.lost[:NAMED],
        "lost_places": found.lost_places[:NAMED],
        "doubled": found.doubled[:NAMED],
        "kills": done["kill"],
        "freezes": done["freeze"],
        "broker_kills": done["broker kill"],
        "joins": done["join"],
        "leaves": done["leave"],
        "workers": len(fleet.slots),
        "partitions": settings.topics.partitions,
        "session_seconds": settings.worker.session_seconds,
        "ended_by_themselves": {str(k): n for k, n in sorted(fleet.ended.items())},
        "longest_silence_seconds": round(found.longest_silence, 1),
        "stopped_late": fleet.stopped_late,
        "recovery_seconds": {
            "median": round(statistics.median(recoveries), 2) if recoveries else None,
            "max": round(recoveries[-1], 2) if recoveries else None,
            "samples": len(recoveries),
        },
    }


def passed(report: dict[str, Any]) -> bool:
    """Whether nothing was lost, doubled, out of order or other than undisturbed."""
    counts = ("lost", "duplicates", "subscriber_duplicates", "out_of_order", "unburied")
    return (
        not any(report[name] for name in counts)
        and not report["answers_differing"]
        and report["state_identical"]
    )
