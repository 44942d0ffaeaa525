"""Inference from rows of logs: which rows count, in which order, and what is said of those that do not."""

from __future__ import annotations

from typing import Any

import pytest

from streamsim.dates import HOUR_MS
from streamsim.evaluation.inference.asked import Asked
from streamsim.evaluation.inference.live import examine
from tests.evaluation.inference.null import PER_DAY, thompson

Rows = list[dict[str, Any]]
BOUNDED = Asked(bounds=(0.0, 1.0), most=100_000)


def logged(
    seed: int, means: tuple[float, float] = (0.3, 0.6), floor: float = 0.1, drift: float = 0.0
) -> tuple[Rows, Rows]:
    """Decisions and rewards of a run, a second apart; a reward comes at once."""
    run = thompson(seed, floor, means, drift)
    decisions, rewards = [], []
    for n, (first, reward, e) in enumerate(zip(run.first, run.reward, run.chance, strict=True)):
        arm = "a" if first else "b"
        called = {"context": {"n": n}, "action": {"arm": arm}, "advice_id": str(n), "date_ms": 1000 * n}
        told = {"a": float(e), "b": 1 - float(e)}
        decisions.append(called | {"propensity": told[arm], "probabilities": told})
        rewards.append(called | {"reward": float(reward)})
    return decisions, rewards


def test_what_counts_is_the_order_of_decisions_and_not_of_rewards() -> None:
    decisions, rewards = logged(1)
    late = [row | {"date_ms": 10_000_000 - row["date_ms"]} for row in rewards[::-1]]
    assert examine(decisions, late, BOUNDED) == examine(decisions, rewards, BOUNDED)


def test_every_look_at_a_growing_log_holds_what_is_true() -> None:
    for asked in (BOUNDED, Asked(most=100_000)):
        decisions, rewards = logged(2, (0.3, 0.6), floor=0.3)
        widths = []
        for days in range(3, 31, 3):
            n = days * PER_DAY
            (part,) = examine(decisions[:n], rewards[:n], asked).segments
            for one, truth in (*zip(part.arms, (0.3, 0.6), strict=True), (part.differences[0], 0.3)):
                assert one.low is not None
                assert one.high is not None
                assert one.low <= truth <= one.high
            difference = part.differences[0]
            assert difference.low is not None
            assert difference.high is not None
            widths.append(difference.high - difference.low)
        assert widths[-1] < widths[0] / 1.5
        assert part.sentence.startswith("Play b rather than a: it earns")


def test_rewards_of_another_scale_give_the_same_answer_on_that_scale() -> None:
    decisions, rewards = logged(3)
    scaled = [row | {"reward": 50 * row["reward"] - 20} for row in rewards]
    (plain,) = examine(decisions, rewards, BOUNDED).segments
    (other,) = examine(decisions, scaled, Asked(bounds=(-20.0, 30.0), most=100_000)).segments
    arm, same = plain.arms[1], other.arms[1]
    assert (arm.low, arm.high) != (None, None)
    assert [same.estimate, same.low, same.high] == pytest.approx(
        [50 * one - 20 for one in (arm.estimate, arm.low, arm.high) if one is not None]
    )
    first, second = plain.differences[0], other.differences[0]
    assert [second.low, second.high] == pytest.approx(
        [50 * one for one in (first.low, first.high) if one is not None]
    )


def test_a_part_of_a_longer_log_holds_for_one_look_and_says_so() -> None:
    decisions, rewards = logged(4)
    found = examine(decisions[-500:], rewards[-500:], Asked(bounds=(0.0, 1.0), most=500))
    assert found.rows["complete"] is False
    assert "the newest 500 rows of a longer log" in found.warnings[0]
    assert "with 0.95 at this look" in found.segments[0].sentence


def test_decisions_without_a_reward_are_counted_and_warned_of() -> None:
    decisions, rewards = logged(5)
    found = examine(decisions, rewards[::2], BOUNDED)
    assert (found.rows["decisions"], found.rows["unrewarded"]) == (1500, 1500)
    assert any("1,500 decisions without a reward are left out" in one for one in found.warnings)


def test_decisions_whose_reward_may_still_come_wait() -> None:
    decisions, rewards = logged(6)
    now = 2000 * 1000 + HOUR_MS
    asked = Asked(bounds=(0.0, 1.0), most=100_000, window_hours=1, now_ms=now)
    found = examine(decisions, rewards[:2500], asked)
    assert found.rows["waiting"] == 999
    assert found.segments == examine(decisions[:2001], rewards[:2001], BOUNDED).segments


def test_decisions_from_before_probabilities_were_logged_are_left_out() -> None:
    decisions, rewards = logged(7)
    for row in decisions[:1000]:
        del row["probabilities"], row["propensity"]
    found = examine(decisions, rewards, BOUNDED)
    assert (found.rows["decisions"], found.rows["without_probabilities"]) == (2000, 1000)
    assert found.segments == examine(decisions[1000:], rewards[1000:], BOUNDED).segments


@pytest.mark.parametrize(
    "fault",
    [
        {"probabilities": None, "propensity": None},
        {"probabilities": {"a": 0.5, "b": 0.6}},
        {"probabilities": {"a": 0.999, "b": 0.001}, "propensity": 0.5},
    ],
)
def test_a_gap_in_probabilities_gives_no_number(fault: dict[str, Any]) -> None:
    decisions, rewards = logged(8)
    decisions[1500] |= fault
    found = examine(decisions, rewards, BOUNDED)
    assert found.segments == []
    assert "nothing is told rather than something wrong" in found.warnings[0]


def test_an_arm_that_was_hardly_drawn_has_no_interval() -> None:
    decisions, rewards = logged(9)
    b = [n for n, row in enumerate(decisions) if row["action"]["arm"] == "b"][20:]
    kept = [n for n in range(3000) if n not in set(b)]
    found = examine([decisions[n] for n in kept], [rewards[n] for n in kept], BOUNDED)
    reason = found.segments[0].arms[1].reason
    assert reason is not None
    assert reason.startswith("Too little stands behind b: 20 draws")


def test_at_a_named_end_rewards_that_drifted_carry_a_warning_and_steady_ones_none() -> None:
    end = Asked(until_ms=1000 * 30 * PER_DAY, now_ms=10**9, most=100_000)
    for drift in (0.0, 0.5):
        decisions, rewards = logged(5, (0.3, 0.3), floor=0.3, drift=drift)
        found = examine(decisions, rewards, end)
        assert found.fixed_time.startswith("given")
        warned = [one for one in found.warnings if "read uniform" in one]
        assert bool(warned) == bool(drift)
        for one in (*found.segments[0].arms, *found.segments[0].differences):
            assert one.uniform is not None
            assert one.uniform.low < one.uniform.estimate < one.uniform.high
        difference = found.segments[0].differences[0].uniform
        assert difference is not None
        assert difference.low < 0 < difference.high
