"""One partition of the interactions topic: where it stands, what was seen, who writes its answers.

State is a fold over the log, so an offset says all: what is below `next_offset` is in the state.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from streams.worker.delivery import Writer

Offset = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class PartitionNotes(msgspec.Struct):
    """What a checkpoint says of a partition; see `Partition`."""

    next_offset: Offset
    newest_ms: Offset
    applied: Offset
    digest: Annotated[int, Meta(ge=0)]
    known: list[str]
    forgotten: Offset = 0


@dataclass(kw_only=True)
class Progress:
    """What of a partition is in the state.

    Attributes
    ----------
    number
        The partition's.
    window
        How many event ids duplicates are known by.
    next_offset
        The next message to apply.
    newest_ms
        The watermark: the latest of the applied events' times (`pipeline.watermark`), in ms.
    forgotten
        The offset after the latest `forget`; 0 if there was none. Checkpoints that end before it
        may hold whom it is of.
    applied, digest
        How many events were applied; the sum of their ids' hashes, the same in whatever order.
    told
        Where it was taken over: events below this offset teach the items nothing, for these know of
        them by deltas. 0 where items are not shared.
    """

    number: int = 0
    window: int
    next_offset: int = 0
    newest_ms: int = 0
    applied: int = 0
    digest: int = 0
    forgotten: int = 0
    told: int = 0
    _known: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def is_duplicate(self, user: str, event_id: str) -> bool:
        """Whether this id of this user is among the last `window` that were applied."""
        # Older checkpoints list ids without their users.
        return _mark(user, event_id) in self._known or _mark("", event_id) in self._known

    def count(self, user: str, event_id: str, newest_ms: int) -> None:
        """Note that an event is applied, and that it moves the watermark to `newest_ms`."""
        self._known[_mark(user, event_id)] = None
        if len(self._known) > self.window:
            self._known.popitem(last=False)
        self.applied += 1
        hashed = hashlib.blake2b(event_id.encode(), digest_size=8).digest()
        self.digest = (self.digest + int.from_bytes(hashed, "little")) % 2**64
        self.newest_ms = max(self.newest_ms, newest_ms)

    def notes(self) -> PartitionNotes:
        """For a checkpoint."""
        return PartitionNotes(
            self.next_offset, self.newest_ms, self.applied, self.digest, list(self._known),
            self.forgotten,
        )  # fmt: skip

    def exchange(self, other: Progress) -> None:
        """Have each of two that stand at one offset know of the events that the other knew of.

        Both keep the latest `forget`: checkpoints before it may hold whom it is of.
        """
        for name in ("newest_ms", "applied", "digest", "_known"):
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, theirs)
            setattr(other, name, mine)

    def let_go(self) -> None:
        """Forget all: its users are another worker's."""
        self.next_offset = self.newest_ms = self.applied = self.digest = self.forgotten = 0
        self._known.clear()

    def resume(self, notes: PartitionNotes) -> None:
        """Go on from a checkpoint."""
        self.next_offset, self.newest_ms = notes.next_offset, notes.newest_ms
        self.applied, self.digest = notes.applied, notes.digest
        self.forgotten = notes.forgotten
        self._known = OrderedDict.fromkeys(
            mark if mark.startswith(_MARK) else _mark("", mark)
            for mark in notes.known[-self.window :]
        )


_MARK = "\x01"


def _mark(user: str, event_id: str) -> str:
    """What an event is known by: neither its id nor its user can be read from it.

    It begins with a control character, which ids do not hold.
    """
    named = b"%d:%s%s" % (len(user), user.encode(), event_id.encode())
    return _MARK + hashlib.blake2b(named, digest_size=16).hexdigest()


@dataclass(kw_only=True)
class Partition(Progress):
    """One partition of the interactions topic; see `Progress` for what was applied of it.

    Attributes
    ----------
    writer
        Writes its answers and dead letters while it is ours.
    ours
        Whether the group has assigned it to this worker, and it has been taken over.
    held
        Whether the engine has its users, as of `next_offset`.
    """

    writer: Writer
    ours: bool = False
    held: bool = False

    def let_go(self) -> None:
        """Forget all: its users are another worker's."""
        super().let_go()
        self.held = False
