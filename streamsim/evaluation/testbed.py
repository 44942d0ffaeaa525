"""Seeded environments whose truth is known: for tests, examples and documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import special

from streamsim.evaluation.intervals import Floats, Ints
from streamsim.evaluation.logs import DecisionLog


@dataclass(frozen=True)
class Environment:
    """A stochastic bandit over M equally likely contexts and K arms.

    `contexts`: M dicts, just an empty one if rewards do not depend on a context. `means`: M x K expected
    rewards. `noise`: rewards are 0 or 1 with that probability of 1, or normal around it with variance 1.
    A policy is M x K probabilities, or K of them for every context.
    """

    contexts: tuple[dict[str, Any], ...]
    means: Floats
    noise: Literal["bernoulli", "normal"]

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms' labels: "0", "1", ..."""
        return tuple(map(str, range(self.means.shape[1])))

    @property
    def best(self) -> Ints:
        """The best arm in each context."""
        result: Ints = self.means.argmax(axis=1)
        return result

    def value(self, policy: Floats | Sequence[float]) -> float:
        """Expected reward of a decision of a policy, exactly."""
        return float((np.broadcast_to(policy, self.means.shape) * self.means).sum(axis=1).mean())

    def regret(self, policy: Floats | Sequence[float]) -> float:
        """How much less a policy earns in a decision, expected, than the best arm of each context."""
        return float(self.means.max(axis=1).mean()) - self.value(policy)

    def rewards(self, context: Ints, action: Ints, rng: np.random.Generator) -> Floats:
        """A reward for each of n pairs of context (0 to M - 1) and action (0 to K - 1)."""
        mean = self.means[context, action]
        if self.noise == "normal":
            return mean + rng.standard_normal(mean.shape)
        return (rng.random(mean.shape) < mean).astype(np.float64)

    def log(self, policy: Floats | Sequence[float], n: int, seed: int) -> tuple[Ints, DecisionLog]:
        """n decisions of a logging policy: the place of each one's context, and the log."""
        rng = np.random.default_rng(seed)
        context = rng.integers(len(self.contexts), size=n)
        chances = np.broadcast_to(policy, self.means.shape)[context]
        # The last edge is 1 whatever the sum's rounding, and an arm without probability has no width.
        edges = chances.cumsum(axis=1)
        action = (rng.random((n, 1)) * edges[:, -1:] >= edges).sum(axis=1)
        rewards = self.rewards(context, action, rng)
        labels = self.arms
        return context, DecisionLog(
            [self.contexts[place] for place in context],
            [labels[place] for place in action],
            rewards,
            chances[np.arange(n), action],
        )


def ten_armed(seed: int, arms: int = 10) -> Environment:
    """One problem of the 10-armed testbed (Sutton and Barto, Reinforcement Learning, 2nd ed., section 2.3).

    True values from N(0, 1), rewards from N(true value, 1).
    """
    return Environment(({},), np.random.default_rng(seed).standard_normal((1, arms)), "normal")


def bernoulli(chances: Sequence[float]) -> Environment:
    """K arms that pay 1 with these probabilities, and else 0."""
    means = np.array([chances], dtype=np.float64)
    if not ((means >= 0) & (means <= 1)).all():
        raise ValueError("chances lie from 0 to 1")
    return Environment(({},), means, "bernoulli")


def contextual_logistic(seed: int, arms: int = 4, features: int = 3, contexts: int = 20) -> Environment:
    """Rewards of 0 or 1 with P(1 | x, a) = 1 / (1 + exp(-(b_a0 + x'b_a))).

    Features and coefficients are standard normal. A context is {"segment": text, "x": list of the features};
    there are finitely many, so that every policy's value is a sum.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((contexts, features))
    coefficients = rng.standard_normal((1 + features, arms))
    means = special.expit(coefficients[0] + x @ coefficients[1:])
    named = tuple({"segment": f"s{place}", "x": row.tolist()} for place, row in enumerate(x))
    return Environment(named, means, "bernoulli")


def uniform(environment: Environment) -> Floats:
    """The policy that takes every arm equally often: M x K."""
    return np.full(environment.means.shape, 1 / environment.means.shape[1])


def softmax(environment: Environment, temperature: float) -> Floats:
    """Arms with probability proportional to exp(expected reward / temperature): M x K.

    Negative temperatures prefer bad arms.
    """
    result: Floats = special.softmax(environment.means / temperature, axis=1)
    return result
