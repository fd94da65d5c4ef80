"""How the engine's kernels are compiled: cached on disk, vectorised, on the calling thread."""

from __future__ import annotations

from numba import njit

# numpy's error model: the check for division by zero would keep loops from being vectorised.
kernel = njit(cache=True, fastmath=True, error_model="numpy")
