"""Lock-in feedback: climbing a noisy function of one continuous variable by oscillating around a centre."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from streamsim.estimators import stored

__all__ = ["LiF", "Lif"]


class LiF:
    """Lock-in feedback: {Yw, t, x0, due}.

    Kaptein and Iannuzzi, "Lock in feedback in sequential experiments" (arXiv:1502.00598). Play
    x = x0 + a cos(omega t) and multiply the outcome y by a cos(omega t). Over a whole number of periods the
    mean of the products is a^2 / 2 times the slope of E[y] at x0. Before the next suggestion the centre x0
    moves by gamma times their sum, as in StreamingBandit. `Yw` holds up to `t` rows [t, x, product]; `due`:
    the centre is yet to move by them.

    :param theta: a stored dict; empty or None: fresh.
    :param x0: the first centre.
    :param a: amplitude of the oscillation.
    :param t: integration window, in outcomes; best a whole number of periods 2 pi / omega.
    :param gamma: learning rate. Around a maximum of curvature c it should be below 4 / (t a^2 c).
    :param omega: angular frequency, radians per step.
    :param lifversion: 1: the centre moves once per full window, which then starts empty (the paper's LiF-I);
        2: with every outcome once the window is full, which slides (LiF-II).
    :raises ValueError: another lifversion, a window below 1, or a stored dict with what is not a number.

    A state without `due` is of an earlier version, which took the mean of the window: it goes on so.

    >>> dose = LiF({}, x0=2.0, a=0.5, t=8, gamma=0.0125, omega=math.pi / 4)
    >>> for _ in range(200):
    ...     played = dose.suggest()
    ...     _ = dose.update(played["t"], played["x"], -((played["x"] - 5.0) ** 2), played["x0"])
    >>> round(dose.get_value(), 1)
    5.0
    """

    def __init__(
        self,
        theta: Mapping[str, Any] | str | None,
        x0: float = 1.0,
        a: float = 1.4,
        t: int = 100,
        gamma: float = 0.004,
        omega: float = 0.8,
        lifversion: int = 2,
        *,
        A: float | None = None,  # noqa: N803 - StreamingBandit's first name of it
        T: int | None = None,  # noqa: N803
    ) -> None:
        self.A = a if A is None else A
        self.T = int(t if T is None else T)
        self.gamma = gamma
        self.omega = omega
        self.lifversion = lifversion
        if lifversion not in (1, 2):
            raise ValueError(f"lifversion is 1 or 2, not {lifversion!r}")
        if self.T < 1:
            raise ValueError(f"the integration window is at least 1, not {self.T}")
        state = stored.parsed(theta) if theta else None
        self._fresh = not state
        if state:
            # StreamingBandit filled the unused part of the window with NaN, and stored it as text.
            rows = [[stored.number(v) for v in row] for row in stored.parsed(state["Yw"]) if None not in row]
            rows = [row for row in rows if not math.isnan(row[0])]
            self.theta: dict[str, Any] = {
                "Yw": rows,
                "t": int(stored.number(state["t"])),
                "x0": stored.number(state["x0"]),
            }
            if "due" in state:
                self.theta["due"] = bool(state["due"])
            elif isinstance(state["Yw"], str):
                self.theta["due"] = len(rows) >= self.T
        else:
            self.theta = {"Yw": [], "t": 0, "x0": x0, "due": False}

    def get_dict(self) -> dict[str, Any]:
        """The state, ready for `set_theta`."""
        return self.theta

    def get_value(self) -> float:
        """The present centre: that of the next suggestion."""
        return float(self.theta["x0"] + self._move() if self.theta.get("due") else self.theta["x0"])

    get_x0 = get_value

    def suggest(self) -> dict[str, Any]:
        """The next point to play: {"x", "t", "x0"}. Give t and x back to `update` with the outcome.

        It follows the outcomes, so there is no need to store the state here.
        """
        self._settle()
        self.theta["t"] += 1
        t, x0 = self.theta["t"], self.theta["x0"]
        return {"x": x0 + self.A * math.cos(self.omega * t), "t": t, "x0": x0}

    def update(self, t: int, x: float, y: float, x0: float | None = None) -> bool:
        """Take in the outcome y of playing x at step t. Once the window is full the centre is due to move.

        :param t: the step, as `suggest` gave it.
        :param x: what was played, as `suggest` gave it.
        :param y: the outcome, any finite number, higher is better.
        :param x0: the centre of the suggestion. A stored centre is newer, so this counts only if none is.
        :returns: True, as in StreamingBandit.
        """
        state = self.theta
        if self._fresh and x0 is not None:
            state["x0"] = stored.observation(x0)
        self._fresh = False
        step = int(stored.observation(t))
        # A step further ahead than the next suggestion cannot have been suggested, and is not gone on from.
        state["t"] = max(state["t"], min(step, state["t"] + 1))
        product = self.A * math.cos(self.omega * step) * stored.observation(y)
        self._settle()
        rows = state["Yw"] = [*state["Yw"], [step, stored.observation(x), product]][-self.T :]
        full = len(rows) == self.T
        if "due" in state:
            state["due"] = full
        elif full:
            state["x0"] += self._move() / self.T
            if self.lifversion == 1:
                state["Yw"] = []
        return True

    def _move(self) -> float:
        return self.gamma * math.fsum(row[2] for row in self.theta["Yw"])

    def _settle(self) -> None:
        """Move the centre, if it is due."""
        state = self.theta
        if state.get("due"):
            state["x0"] += self._move()
            state["due"] = False
            if self.lifversion == 1:
                state["Yw"] = []


Lif = LiF
