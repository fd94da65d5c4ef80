"""What several engines share of their items: sums of changes, by row (`docs/scaling.md`)."""

from engine.sharing.delta import DeltaError, ItemDelta

__all__ = ["DeltaError", "ItemDelta"]
