"""The default reward model of the direct method: cross-fitted ridge regression per arm.

Arm a's expected reward in context x is modelled as x'b_a, where b_a minimises
sum (r - x'b_a)^2 + penalty |b_a - b_0|^2 over the arm's rows, and b_0 is the ridge fit to the rows of all
arms: an arm with few rows leans on the others. Cross-fitting (Chernozhukov et al. 2018, Econometrics Journal
21): the prediction for a row comes from a fit that never saw the row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from streamsim.evaluation.intervals import Floats, Ints

MAX_COLUMNS = 200
_MAX_FIGURES = 20_000_000
_FEWEST = 2


def encode(contexts: Sequence[Mapping[str, Any]], most: int = MAX_COLUMNS) -> tuple[Floats, list[str]]:
    """Contexts as a matrix (n x p) and the names of its columns; the first column is 1.

    Numbers and booleans: one column, mean 0 and standard deviation 1, with 0 and a second column that says so
    where it is missing. Text: one 0/1 column for each category seen at least twice. Lists and dicts: their
    items, as `name[0]` and `name.key`. Constant columns are left out; over `most`, the rarest too.
    """
    n = len(contexts)
    numbers: defaultdict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    categories: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row, context in enumerate(contexts):
        for name, value in context.items():
            leaves = ((name, value),) if type(value) in (str, float, int) else _leaves(value, name)
            for leaf, figure in leaves:
                if isinstance(figure, str):
                    categories[leaf, figure].append(row)
                else:
                    rows, figures = numbers[leaf]
                    rows.append(row)
                    figures.append(figure)
    # (rows that have it, name, those rows, their figures, the figure of the others)
    columns: list[tuple[int, str, list[int], Floats | float, float]] = []
    for name, (rows, figures) in numbers.items():
        present = np.array(figures, dtype=np.float64)
        # Divided by the greatest first: the square of a huge number is no number.
        present /= np.abs(present).max() or 1.0
        spread = present.std()
        if spread > 1e-9:
            columns.append((len(rows), name, rows, (present - present.mean()) / spread, 0.0))
        missing = n - len(rows)
        if missing >= _FEWEST:
            columns.append((min(missing, len(rows)), f"{name} missing", rows, 0.0, 1.0))
    for (name, text), rows in categories.items():
        if _FEWEST <= len(rows) < n:
            columns.append((len(rows), f"{name}={text}", rows, 1.0, 0.0))
    columns.sort(key=lambda column: (-column[0], column[1]))
    del columns[most - 1 :]
    matrix = np.ones((n, 1 + len(columns)))
    for place, (_, _, rows, present_figures, other) in enumerate(columns, 1):
        matrix[:, place] = other
        matrix[rows, place] = present_figures
    return matrix, ["1", *(column[1] for column in columns)]


def _leaves(value: Any, name: str) -> Iterator[tuple[str, str | float]]:
    if isinstance(value, str | int | float):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _leaves(item, f"{name}[{place}]")


def _solved(inverse: Floats, right: Floats) -> Floats:
    result: Floats = (inverse @ right[..., None])[..., 0]
    return result


class RewardModel:
    """Cross-fitted predictions, and how much an average of them owes to each row's reward.

    :param action: arm of each of n >= 2 rows, from 0 to arms - 1.
    :param reward: n rewards.
    :param arms: K, which may include arms without any row.
    :param folds: parts into which the rows are split at random; at most n.
    :param penalty: the weight of the pull towards the fit to all arms, in rows.

    `predictions`: n x K expected rewards. `columns`: names of the features.
    """

    def __init__(
        self,
        contexts: Sequence[Mapping[str, Any]],
        action: Ints,
        reward: Floats,
        arms: int,
        *,
        folds: int = 5,
        seed: int = 0,
        penalty: float = 1.0,
    ) -> None:
        n = len(action)
        if n < _FEWEST:
            raise ValueError(f"a reward model needs at least {_FEWEST} rows, not {n}")
        folds = min(folds, n)
        most = max(2, min(MAX_COLUMNS, int((_MAX_FIGURES / (folds * arms)) ** 0.5)))
        x, self.columns = encode(contexts, most)
        p = x.shape[1]
        fold = np.random.default_rng(seed).permutation(np.arange(n) % folds)
        # Rows of one fold lie together, and within it those of one arm; figures per row are in that order.
        place = fold * arms + action
        self._order = np.argsort(place, kind="stable")
        self._x, reward, place = x[self._order], reward[self._order], place[self._order]
        starts = np.flatnonzero(np.diff(place, prepend=-1)).tolist()
        cells = zip(place[starts].tolist(), starts, [*starts[1:], n], strict=True)
        self._cells = [(divmod(cell, arms), slice(start, end)) for cell, start, end in cells]
        edges = np.searchsorted(place, np.arange(folds + 1) * arms).tolist()
        self._folds = [slice(start, end) for start, end in pairwise(edges)]
        gram, moment = np.zeros((folds, arms, p, p)), np.zeros((folds, arms, p))
        for cell, rows in self._cells:
            gram[cell] = self._x[rows].T @ self._x[rows]
            moment[cell] = self._x[rows].T @ reward[rows]
        # What each fold's fit saw is everything but that fold.
        gram, moment = gram.sum(axis=0) - gram, moment.sum(axis=0) - moment
        ridge = penalty * np.eye(p)
        free = ridge.copy()
        free[0, 0] = 0.0
        self._penalty = penalty
        self._common_inverse: Floats = np.linalg.inv(gram.sum(axis=1) + free)
        common = _solved(self._common_inverse, moment.sum(axis=1))
        self._inverse: Floats = np.linalg.inv(gram + ridge)
        fits = _solved(self._inverse, moment + penalty * common[:, None, :])
        predicted = np.concatenate([self._x[rows] @ fits[f].T for f, rows in enumerate(self._folds)])
        self._error: Floats = reward - predicted[np.arange(n), place % arms]
        self._common_error: Floats = reward - self._by_fold(common)
        self.predictions: Floats = np.empty_like(predicted)
        self.predictions[self._order] = predicted

    def _by_fold(self, vectors: Floats) -> Floats:
        return np.concatenate([self._x[rows] @ vectors[f] for f, rows in enumerate(self._folds)])

    def influence(self, shares: Floats) -> Floats:
        """Influence of each row, as training data, on the mean over i of sum_a shares[i,a] predictions[i,a].

        The first-order (infinitesimal jackknife) effect, on the scale of influence functions: the variance of
        the result over n is the part of the mean's variance that is due to the fit. Errors are those of the
        prediction that never saw the row, which errs on the side of too wide an interval.

        :param shares: n x K.
        """
        shares = shares[self._order]
        return self._influence(np.stack([shares[rows].T @ self._x[rows] for rows in self._folds]))

    def influence_of_logged(self, weights: Floats) -> Floats:
        """The same for the mean over i of weights[i] predictions[i, action[i]]."""
        weights = weights[self._order]
        gathered = np.zeros(self._inverse.shape[:3])
        for cell, rows in self._cells:
            gathered[cell] = weights[rows] @ self._x[rows]
        return self._influence(gathered)

    def _influence(self, gathered: Floats) -> Floats:
        direct = _solved(self._inverse, gathered)
        common = _solved(self._common_inverse, self._penalty * direct.sum(axis=1))
        # A row took part in the fits of all folds but its own.
        direct, common = direct.sum(axis=0) - direct, common.sum(axis=0) - common
        result: Floats = np.empty(len(self._order))
        result[self._order] = self._common_error * self._by_fold(common) + self._error * np.concatenate(
            [self._x[rows] @ direct[cell] for cell, rows in self._cells]
        )
        return result
