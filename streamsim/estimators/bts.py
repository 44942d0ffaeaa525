"""Bootstrapped Thompson sampling."""

from __future__ import annotations

import random as _random
from collections.abc import Mapping
from typing import Any

import numpy as np

from streamsim.estimators import stored

__all__ = ["BTS"]


class BTS:
    """An online bootstrap of any estimator: m replicates of its state, {"0": {..}, "1": {..}, ..}.

    Eckles and Kaptein, "Thompson sampling with the online bootstrap" (arXiv:1410.4009). Each observation
    counts double in a replicate with probability 1/2 and not at all otherwise; to decide, draw one replicate.

    :param params: the stored replicates; or one estimator's state, which all replicates start from.
    :param update_method: the estimator's class, e.g. `lm.LM`; it is built from one replicate's state.
    :param m: number of replicates. If fewer are stored, copies of stored ones are added; if more, the first
        m are kept.
    :param default_params: state of fresh replicates.
    :param param_noise: add normal noise to the vectors in `default_params`, so that fresh replicates differ.
    :param noisesd: its standard deviation.
    :raises ValueError: naming the argument of another form.

    >>> from streamsim.estimators.base import Mean
    >>> price = BTS({}, Mean, m=3)
    >>> for euros in [5.0] * 20:
    ...     price.update(euros)
    >>> sorted(price.get_dict()), price.sample()["m"]
    (['0', '1', '2'], 5.0)
    """

    def __init__(
        self,
        params: Mapping[Any, Any],
        update_method: type[Any] | None = None,
        m: int = 100,
        default_params: Mapping[str, Any] | None = None,
        param_noise: bool = True,
        noisesd: float = 0.1,
    ) -> None:
        if not isinstance(update_method, type):
            raise ValueError("update_method is an estimator's class, such as lm.LM")
        if not isinstance(params, Mapping):
            raise ValueError("params is a dict: the stored replicates, or the state of one estimator")
        if m < 1:
            raise ValueError("m, the number of replicates, is at least 1")
        self.update_method: type[Any] = update_method
        self.params: dict[int, Any]
        if params and all(str(key).isdecimal() for key in params):
            self.params = dict(enumerate(params[key] for key in sorted(params, key=int)))
            for extra in range(len(self.params), m):
                self.params[extra] = self.params[_random.randrange(extra)]
            self.params = {i: self.params[i] for i in range(m)}
        elif default_params is not None:
            noise = noisesd if param_noise else 0.0
            self.params = {i: _fresh(default_params, noise) for i in range(m)}
        else:
            self.params = {i: dict(params) for i in range(m)}

    def sample(self) -> dict[str, Any]:
        """The state of one replicate, each with equal probability."""
        return self._state(_random.randrange(len(self.params)))

    def update(self, y: Any, x: Any = None, *args: Any, **kwargs: Any) -> None:
        """Take in one observation: double in about half of the replicates, dropped in the others.

        :param x: left out for estimators that take one value, such as `base.Mean`.
        :param args: passed to the estimator's class; `kwargs` to its `update`.
        """
        observation = (y,) if x is None else (y, x)
        chosen = _random.getrandbits(len(self.params))
        for i in self.params:
            if chosen >> i & 1:
                model = self.update_method(self._state(i), *args)
                model.update(*observation, **kwargs)
                model.update(*observation, **kwargs)
                self.params[i] = model.get_dict()

    def get_dict(self) -> dict[str, Any]:
        """The replicates' states, ready for `set_theta`."""
        return {str(i): self._state(i) for i in self.params}

    def get_value(self) -> list[Any]:
        """The bootstrap distribution: the estimator's value in each replicate."""
        return [self.update_method(self._state(i)).get_value() for i in self.params]

    def _state(self, i: int) -> dict[str, Any]:
        state = self.params[i] = stored.parsed(self.params[i])
        return dict(state)


def _fresh(state: Mapping[str, Any], noise: float) -> dict[str, Any]:
    return {
        name: _noisy(value, noise) if noise and isinstance(value, list) else value
        for name, value in state.items()
    }


def _noisy(value: list[Any], noise: float) -> list[Any]:
    mean = np.array(value, dtype=float)
    if mean.ndim == 2 and mean.shape[0] == mean.shape[1] > 1:
        # A matrix of sums of squares with noise in it may have no inverse, and no meaning.
        return value
    noisy: list[Any] = (mean + np.random.normal(0.0, noise, mean.shape)).tolist()
    return noisy
