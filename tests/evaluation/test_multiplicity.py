"""Many pairs of alike policies: pointwise intervals find differences, simultaneous ones do not."""

from __future__ import annotations

import numpy as np

from streamsim.evaluation.compare import compare
from streamsim.evaluation.simulation import Curve


def test_simultaneous_intervals_seldom_tell_alike_policies_apart() -> None:
    rng = np.random.default_rng(1)
    pointwise = together = 0
    for _ in range(100):
        curves = {
            f"p{policy}": [Curve([float(rng.normal())], [float("nan")], [{}]) for _ in range(20)]
            for policy in range(7)
        }
        found = compare([1], curves, replications=20, seed=1).differences
        assert len(found) == 21
        for kind in ("reward", "simultaneous"):
            bands = [getattr(one, kind) for one in found]
            apart = any(band.low[0] > 0 or band.high[0] < 0 for band in bands)
            pointwise += apart and kind == "reward"
            together += apart and kind == "simultaneous"
    assert pointwise > 30
    assert together <= 12
