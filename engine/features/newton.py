"""The online Newton step of the head's weights: how far to go is learnt with them.

The gradient g of the softmax loss by all weights (a feature's error times the context) has the
loss's curvature as its covariance. So the sum of its outer products is the precision of the
weights, a Gaussian prior's added, and its inverse P is what a step is multiplied by:

    v = P g,  P <- P - v v' / (1 + g' v),  w <- w - v / (1 + g' v)

This is recursive least squares on the linearised loss. Correlated features, rare ones and those of
another scale each get the rate that suits them, on any stream, and no rate is set. What is
forgotten in time is a drift: each event adds a share of the prior's variance (1e-5 if nothing else
is set, `engine.weight_drift`), up to the whole of it.

References
----------
.. [1] Hazan, Agarwal and Kale, Logarithmic regret algorithms for online convex optimization, 2007.
.. [2] Ollivier, Online natural gradient as a Kalman filter, 2018.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import kernel
from engine.features.context import CONTEXTS
from engine.features.table import FEATURES, LEARNT

_DEVIATION, _GATE_DEVIATION = 0.2, 0.07
"""How far from its initial value a weight is expected: in the constant context, and in others."""


def prior() -> NDArray[np.float64]:
    """The covariance before anything is learnt, a diagonal: float64[features, 5, features, 5]."""
    variances = np.full((FEATURES, CONTEXTS), _GATE_DEVIATION**2)
    variances[:, 0] = _DEVIATION**2
    return np.diag(variances.reshape(-1)).reshape(FEATURES, CONTEXTS, FEATURES, CONTEXTS)


@kernel
def learn_weights(h, error, context, scratch):  # type: ignore[no-untyped-def]
    """One step of all weights of the head that are learnt.

    error : float32[features], the loss's gradient by the feature weights; context : float32[5];
    scratch : float64[2, features * 5].
    """
    size = FEATURES * CONTEXTS
    flat, rows = h.weights.reshape(size), h.covariance.reshape(size, size)
    gradient, step = scratch[0], scratch[1]
    for k in range(FEATURES):
        felt = LEARNT[k] and h.active[k] > 0
        for c in range(CONTEXTS):
            gradient[k * CONTEXTS + c] = error[k] * context[c] if felt else 0.0
            step[k * CONTEXTS + c] = 0.0
    for i in range(size):
        g = gradient[i]
        if g != 0:
            for j in range(size):
                step[j] += g * rows[i, j]
    curvature = 1.0
    for i in range(size):
        curvature += gradient[i] * step[i]
    for i in range(size):
        share = step[i] / curvature
        flat[i] -= share
        if share != 0:
            for j in range(size):
                rows[i, j] -= share * step[j]
        variance = _DEVIATION**2 if i % CONTEXTS == 0 else _GATE_DEVIATION**2
        rows[i, i] += h.drift * max(0.0, variance - rows[i, i])
