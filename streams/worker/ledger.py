"""Which deltas of items count, decided by their order in the topic alone.

Every worker reads the topic of deltas in one order, so all decide alike, whoever was frozen, killed
or cut off, and for how long:

- A worker that takes partitions over says so in the topic. From there on only its deltas of them
  count: what an earlier owner still had on its way is passed over.
- A delta counts if, for each partition that it is of, it begins where the last that counted ended.
  So events are counted once, however often a delta is sent and whoever learns them again.
"""

from __future__ import annotations

from collections.abc import Mapping

Ranges = Mapping[int, tuple[int, int]]
"""By partition: the first offset, and the one after the last."""


class GapError(Exception):
    """Something was told that is not in the topic any more; says of which partition."""


class Ledger:
    """Up to where the events of each partition are told, and by whom alone they may be.

    Attributes
    ----------
    positions
        By partition: the offset up to which its events are told. One that is not there is at 0.
    owners
        By partition: the writer that took it over last.
    """

    def __init__(
        self, positions: Mapping[int, int] | None = None, owners: Mapping[int, str] | None = None
    ) -> None:
        self.positions = dict(positions or {})
        self.owners = dict(owners or {})

    def told(self, partition: int) -> int:
        """Up to which offset the events of a partition are told."""
        return self.positions.get(partition, 0)

    def claim(self, writer: str, known: Mapping[int, int]) -> None:
        """A writer takes these partitions over, of whose events it knows so many to be told.

        Raises
        ------
        GapError
            If more is told than the topic has said here.
        """
        for partition, position in known.items():
            self._check(partition, position)
            self.owners[partition] = writer

    def count(self, writer: str, ranges: Ranges) -> bool:
        """Whether a delta of a writer counts; the events of one that does are told then.

        Nor does one of an owner count that is known here in part, as after an upgrade where workers
        began at different offsets: it cannot be taken apart. What follows it counts.

        Raises
        ------
        GapError
            If it counts, and more was told before it than the topic has said here.
        """
        if any(self.owners.get(partition, writer) != writer for partition in ranges):
            return False
        for partition, (first, _) in ranges.items():
            self._check(partition, first)
        counts = all(first == self.told(partition) for partition, (first, _) in ranges.items())
        for partition, (_, end) in ranges.items():
            self.positions[partition] = max(end, self.told(partition))
            self.owners[partition] = writer
        return counts

    def _check(self, partition: int, position: int) -> None:
        if position > self.told(partition):
            raise GapError(
                f"events {self.told(partition)} to {position} of partition {partition} were told "
                "in deltas that are not in the topic any more"
            )
