"""Exponential and logarithm of whole float32 arrays, in loops that the compiler vectorises.

numba calls the C library for each element, ten times as slow; numpy's own are vectorised, but a
call of numpy would split a compiled step in two. Polynomials of Cephes [1]_ after range reduction;
the relative error is below 1e-6.

References
----------
.. [1] Moshier, Methods and Programs for Mathematical Functions, 1989: `expf`, `logf`.
"""

from __future__ import annotations

import numpy as np

from engine.compiled import kernel

_LOG2_E = np.float32(1.44269504088896341)
_LN2 = np.float32(0.693147180559945)
_SMALLEST = np.float32(-87.0)
"""Exponents below it give what it gives, 1.6e-38, which is next to nothing and no denormal."""
_HALF, _ONE = np.float32(0.5), np.float32(1.0)
_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_MANTISSA = np.int32(0x007FFFFF)


@kernel
def exp_in_place(values):  # type: ignore[no-untyped-def]
    """values[j] = exp(values[j]) for values of at most 88: float32[n], contiguous."""
    bits = values.view(np.int32)
    for j in range(len(values)):
        x = max(values[j], _SMALLEST)
        whole = np.int32(x * _LOG2_E + (_HALF if x > 0 else -_HALF))
        x -= np.float32(whole) * _LN2
        y = np.float32(1.9875691500e-4)
        y = y * x + np.float32(1.3981999507e-3)
        y = y * x + np.float32(8.3334519073e-3)
        y = y * x + np.float32(4.1665795894e-2)
        y = y * x + np.float32(1.6666665459e-1)
        y = y * x + np.float32(5.0000001201e-1)
        values[j] = y * x * x + x + _ONE
        # Times 2^whole: the value is near 1, so its exponent can take it.
        bits[j] += whole << np.int32(23)


@kernel
def log_in_place(values):  # type: ignore[no-untyped-def]
    """values[j] = log(values[j]) for normal positive values: float32[n], contiguous."""
    bits = values.view(np.int32)
    for j in range(len(values)):
        # The mantissa in [sqrt(.5), sqrt(2)), so that its logarithm is small.
        shifted = bits[j] - _SQRT_HALF_BITS
        exponent = shifted >> np.int32(23)
        bits[j] = (shifted & _MANTISSA) + _SQRT_HALF_BITS
        x = values[j] - _ONE
        y = np.float32(7.0376836292e-2)
        y = y * x + np.float32(-1.1514610310e-1)
        y = y * x + np.float32(1.1676998740e-1)
        y = y * x + np.float32(-1.2420140846e-1)
        y = y * x + np.float32(1.4249322787e-1)
        y = y * x + np.float32(-1.6668057665e-1)
        y = y * x + np.float32(2.0000714765e-1)
        y = y * x + np.float32(-2.4999993993e-1)
        y = y * x + np.float32(3.3333331174e-1)
        values[j] = x + x * x * (x * y - _HALF) + np.float32(exponent) * _LN2
