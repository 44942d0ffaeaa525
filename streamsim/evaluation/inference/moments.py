"""Means and squared deviations of figures that come in parts.

Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
"""

from __future__ import annotations

from streamsim.evaluation.intervals import Floats


class Moments:
    """Of n figures their sum, mean and squared deviations."""

    def __init__(self) -> None:
        self.n = 0
        self.total = self.mean = self.deviations = 0.0

    def add(self, figures: Floats) -> None:
        """Count some more."""
        if not (more := len(figures)):
            return
        mean = float(figures.mean())
        off, n = mean - self.mean, self.n + more
        self.deviations += float(((figures - mean) ** 2).sum()) + off * off * self.n * more / n
        self.mean += off * more / n
        self.total += float(figures.sum())
        self.n = n

    def kept(self) -> list[float]:
        """What `restore` needs."""
        return [self.n, self.total, self.mean, self.deviations]

    def restore(self, kept: list[float]) -> None:
        """Go on from there."""
        n, self.total, self.mean, self.deviations = kept
        self.n = int(n)


class Weight:
    """What stands behind an arm: draws, and the inverse of their probability."""

    def __init__(self) -> None:
        self.draws = 0
        self.largest = self.sum = 0.0
        self._squares = 0.0

    def add(self, weights: Floats) -> None:
        """Count the weights of some more draws."""
        if not len(weights):
            return
        largest = max(self.largest, float(weights.max()))
        # As shares of the largest, whose square may be too large for a number.
        self._squares *= (self.largest / largest) ** 2
        self._squares += float(((weights / largest) ** 2).sum())
        self.draws += len(weights)
        self.sum += float(weights.sum())
        self.largest = largest

    @property
    def size(self) -> float:
        """The number of draws of equal weight that they are worth (Kish 1965)."""
        return (self.sum / self.largest) ** 2 / self._squares if self.largest else 0.0

    def kept(self) -> list[float]:
        """What `restore` needs."""
        return [self.draws, self.largest, self.sum, self._squares]

    def restore(self, kept: list[float]) -> None:
        """Go on from there."""
        draws, self.largest, self.sum, self._squares = kept
        self.draws = int(draws)
