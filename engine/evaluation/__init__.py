"""How well and how fast the engine ranks, measured without a leak."""
