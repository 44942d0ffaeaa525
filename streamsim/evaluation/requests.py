"""What clients ask of evaluations: checked fields, with defaults and bounds."""

from __future__ import annotations

import secrets
from typing import Any, Final

import msgspec

from streamsim.config import EvaluationSettings
from streamsim.errors import BadRequest
from streamsim.evaluation.simulation import MAX_POINTS, MAX_SEED, Start
from streamsim.experiments import fields

DEFAULT_DRAWS: Final = 1000
MAX_REPLICATIONS: Final = 10_000
MAX_POLICIES: Final = 20
MAX_COUNT: Final = 10**15
JOB_FIELDS: Final = ("N", "replications", "seed", "theta", "points", "action_field", "reward_field")
COMPARE_FIELDS: Final = (*JOB_FIELDS, "experiments", "environment")


class Replications(msgspec.Struct, frozen=True, kw_only=True):
    """How experiments are simulated. `points`: at how many numbers of draws curves are kept, at most."""

    draws: int
    replications: int
    seed: int
    theta: Start
    points: int = MAX_POINTS
    action_field: str | None = None
    reward_field: str | None = None

    def asked(self) -> dict[str, int | str]:
        """What a job tells of it."""
        return {"N": self.draws, "replications": self.replications, "seed": self.seed, "theta": self.theta}


def replications(body: dict[str, Any], most: int, option: str, *, policies: int = 1) -> Replications:
    """The fields of a job or a comparison.

    :param most: draws in all, as the setting `option` bounds them.
    :raises BadRequest: naming the field and the accepted form.
    """
    request = Replications(
        draws=integer(body.get("N"), "N", min(DEFAULT_DRAWS, most), 1, most),
        replications=integer(body.get("replications"), "replications", 1, 1, MAX_REPLICATIONS),
        seed=seed(body.get("seed")),
        theta=start(body.get("theta")),
        points=integer(body.get("points"), "points", MAX_POINTS, 1, MAX_POINTS),
        action_field=text(body.get("action_field"), "action_field"),
        reward_field=text(body.get("reward_field"), "reward_field"),
    )
    total = request.draws * request.replications * policies
    if total > most:
        raise BadRequest(
            f"N times replications{' times experiments' if policies > 1 else ''} is {total}; "
            f"at most {most} ({option}) are allowed",
            field="N",
        )
    return request


def draws(value: object, settings: EvaluationSettings) -> int:
    """N of a simulate request. :raises BadRequest:"""
    number = integer(value, "N", min(DEFAULT_DRAWS, settings.draws), 1, MAX_SEED)
    if number > settings.draws:
        raise BadRequest(
            f"N must be an integer from 1 to {settings.draws} (evaluation.draws); a simulation job, "
            "POST /eval/{exp_id}/simulations, may have more",
            field="N",
        )
    return number


def seed(value: object) -> int:
    """A seed; a new one if none is given. :raises BadRequest:"""
    return integer(value, "seed", secrets.randbits(32), 0, MAX_SEED)


def start(value: object) -> Start:
    """Where theta starts. :raises BadRequest:"""
    if value is None or value == "empty":
        return "empty"
    if value == "current":
        return "current"
    raise BadRequest('theta must be "empty" or "current"', field="theta")


def integer(value: object, field: str, default: int, low: int, high: int) -> int:
    """A whole number, or the text of one. :raises BadRequest:"""
    if value is None:
        return default
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        value = int(value)
    if type(value) is not int or not low <= value <= high:
        raise BadRequest(f"{field} must be an integer from {low} to {high}", field=field)
    return value


def text(value: object, field: str) -> str | None:
    """A short text, or None. :raises BadRequest:"""
    if value is not None and (not isinstance(value, str) or not 0 < len(value) <= 200):
        raise BadRequest(f"{field} must be text of 1 to 200 characters", field=field)
    return value


def names(value: object, field: str) -> list[str]:
    """A list of short texts. :raises BadRequest:"""
    if value is None:
        return []
    found = value
    if not isinstance(found, list) or not all(isinstance(one, str) and 0 < len(one) <= 200 for one in found):
        raise BadRequest(f"{field} must be a list of names of 1 to 200 characters", field=field)
    return found


def counts(value: object) -> dict[str, int]:
    """How many units each arm has. :raises BadRequest:"""
    if not isinstance(value, dict) or not all(type(n) is int and 0 <= n <= MAX_COUNT for n in value.values()):
        raise BadRequest(
            f"counts must be an object of arm -> number of units, from 0 to {MAX_COUNT}", field="counts"
        )
    return value


def shares(value: object) -> dict[str, float] | None:
    """The planned share of each arm; None: all the same. :raises BadRequest:"""
    if value is None:
        return None
    if not isinstance(value, dict) or not all(type(p) in (int, float) for p in value.values()):
        raise BadRequest("shares must be an object of arm -> planned share", field="shares")
    return value


def flag(value: object, field: str) -> bool:
    """A boolean, or the text of one; False by default. :raises BadRequest:"""
    if value is None:
        return False
    if isinstance(value, str):
        return fields.boolean(value, field)
    if not isinstance(value, bool):
        raise BadRequest(f"{field} must be true or false", field=field)
    return value


def experiments(body: dict[str, Any]) -> tuple[list[str], str]:
    """The ids of the experiments to compare, and that of the environment: by default the first of them.

    :raises BadRequest:
    """
    found = body.get("experiments")
    if (
        not isinstance(found, list)
        or not 1 <= len(found) <= MAX_POLICIES
        or not all(isinstance(one, str) for one in found)
        or len(set(found)) < len(found)
    ):
        raise BadRequest(
            f"experiments must be a list of 1 to {MAX_POLICIES} different experiment ids", field="experiments"
        )
    environment = body.get("environment", found[0])
    if not isinstance(environment, str):
        raise BadRequest("environment must be the id of an experiment", field="environment")
    return found, environment
