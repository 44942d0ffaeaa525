"""What is kept of decisions tells the same as all of them at once, however they are cut into parts."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import numpy as np
import pytest

from streamsim.dates import HOUR_MS
from streamsim.errors import BadRequest
from streamsim.evaluation.inference import keeping
from streamsim.evaluation.inference.asked import Asked
from streamsim.evaluation.inference.keeping import Keeping, Late, Unsuited
from streamsim.evaluation.inference.live import examine
from streamsim.evaluation.inference.tally import OtherArms, Tally, restored

Rows = list[dict[str, Any]]
NOW = 10_000 * HOUR_MS
KINDS = [
    Asked(bounds=(0.0, 1.0), rewards="bernoulli", now_ms=NOW),
    Asked(now_ms=NOW),
    Asked(rewards="gaussian", control="b", alpha=0.1, horizon=500, now_ms=NOW),
    Asked(metric="clicks", window_hours=2, now_ms=NOW),
    Asked(bounds=(-1.0, 2.0), window_hours=2, default_reward={"x": 0.5}, now_ms=NOW),
]


def logged(seed: int, n: int, *, same: int = 0, lead: int = 0) -> tuple[Rows, Rows]:
    """Decisions of three arms with changing probabilities, a minute apart, and rewards of most of them.

    :param same: so many first rewards are alike. :param lead: so many first ones lack probabilities.
    """
    rng = random.Random(seed)
    decisions, rewards = [], []
    for place in range(n):
        weights = [rng.uniform(0.1, 1) for _ in "abc"]
        told = {arm: weight / sum(weights) for arm, weight in zip("abc", weights, strict=True)}
        arm = rng.choices("abc", list(told.values()))[0]
        row = {"context": {"n": place}, "action": {"arm": arm}, "advice_id": str(place)}
        date_ms = 60_000 * place
        decision = row | {"date_ms": date_ms}
        if place >= lead:
            decision |= {"propensity": told[arm], "probabilities": told}
        if rng.random() < 0.1:
            decision["decided_by"] = rng.choice(["sticky", "holdout"])
        decisions.append(decision)
        for number in range(rng.choices([0, 1, 2], [1, 8, 1])[0]):
            earned = number == 0 and place >= same and rng.random() < {"a": 0.2, "b": 0.4, "c": 0.6}[arm]
            reward: dict[str, Any] = row | {"reward": {"x": float(earned)}, "date_ms": date_ms + 1000}
            if rng.random() < 0.9:
                reward["metrics"] = {"clicks": rng.random()}
            rewards.append(reward)
    return decisions, rewards


def close(found: Any, expected: Any) -> None:
    """The same answer, figures to 1e-9."""
    found, expected = (msgspec.to_builtins(one) for one in (found, expected))
    found["rows"].pop("read")
    expected["rows"].pop("read")
    assert_close(found, expected, "")


def assert_close(one: Any, other: Any, where: str) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for name, value in one.items():
            assert_close(value, other[name], f"{where}.{name}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_close(*pair, f"{where}[{number}]")
    elif isinstance(one, float) and isinstance(other, float):
        assert one == pytest.approx(other, abs=1e-9, rel=1e-9), where
    else:
        assert one == other, where


def whole(decisions: Rows, rewards: Rows, asked: Asked) -> Any:
    return examine(decisions, rewards, msgspec.structs.replace(asked, most=10**9))


def parts(decisions: Rows, rewards: Rows, asked: Asked, cuts: list[int], arms: list[str]) -> Any:
    """The answer of a tally that is kept and restored at each cut."""
    tally = Tally(asked, arms)
    for start, end in zip([0, *cuts], [*cuts, len(decisions)], strict=True):
        some = decisions[start:end]
        theirs = {one["advice_id"] for one in some}
        tally = restored(asked, tally.kept())
        tally.add(some, [one for one in rewards if one["advice_id"] in theirs])
    return tally.answer(0)


@pytest.mark.parametrize("asked", KINDS)
@pytest.mark.parametrize(("same", "lead"), [(0, 0), (450, 0), (0, 300)])
def test_parts_tell_what_the_whole_tells(asked: Asked, same: int, lead: int) -> None:
    decisions, rewards = logged(1, 900, same=same, lead=lead)
    expected = whole(decisions, rewards, asked)
    assert expected.segments or expected.warnings
    rng = np.random.default_rng(2)
    for cuts in ([450], [1, 2, 3, 99, 100, 101], sorted(rng.choice(900, 40, replace=False).tolist())):
        close(parts(decisions, rewards, asked, cuts, ["a", "b", "c"]), expected)


def test_a_part_that_is_never_counted_in_the_right_order_shows() -> None:
    # The figures depend on the order: were it lost, the tests above would not pass by chance.
    decisions, rewards = logged(1, 900)
    found = parts(decisions[::-1], rewards, KINDS[1], [450], ["a", "b", "c"])
    with pytest.raises(AssertionError):
        close(found, whole(decisions, rewards, KINDS[1]))


def test_an_arm_that_was_not_known_makes_all_begin_anew() -> None:
    decisions, rewards = logged(3, 300)
    tally = Tally(KINDS[0], [])
    with pytest.raises(OtherArms) as caught:
        tally.add(decisions, rewards)
    assert caught.value.arms == ["a", "b", "c"]
    close(parts(decisions, rewards, KINDS[0], [], caught.value.arms), whole(decisions, rewards, KINDS[0]))


def test_decisions_that_lack_probabilities_later_leave_nothing_to_tell() -> None:
    decisions, rewards = logged(4, 600)
    for row in decisions[400:410]:
        del row["probabilities"], row["propensity"]
    for asked in KINDS[:2]:
        expected = whole(decisions, rewards, asked)
        assert expected.segments == []
        close(parts(decisions, rewards, asked, [100, 405, 500], ["a", "b", "c"]), expected)


def test_what_cannot_be_told_is_refused_as_of_the_whole() -> None:
    decisions, rewards = logged(5, 300)
    wrong = [
        (Asked(metric="none", now_ms=NOW), rewards),
        (Asked(reward_field="none", now_ms=NOW), rewards),
        (Asked(control="z", now_ms=NOW), rewards),
        (Asked(bounds=(0.5, 1.0), now_ms=NOW), rewards),
    ]
    for asked, some in wrong:
        with pytest.raises(BadRequest) as first:
            whole(decisions, some, asked)
        with pytest.raises(BadRequest) as second:
            parts(decisions, some, asked, [99], ["a", "b", "c"])
        assert first.value.field == second.value.field


# ---- rows as they are read


FEW = 20
"""So few of the newest decisions stay, so that short logs are counted in parts."""


def placed(rows: Rows, start: int = 0) -> list[keeping.Logged]:
    """Rows as they are read; their positions count from `start`."""
    return [
        (msgspec.json.encode({k: v for k, v in row.items() if k != "date_ms"}), row["date_ms"], str(n))
        for n, row in enumerate(rows, start)
    ]


def test_rewards_that_come_late_are_noticed_and_old_ones_are_not_taken_for_late() -> None:
    decisions, rewards = logged(6, 200)
    first, rest = decisions[:150], decisions[150:]
    early = [one for one in rewards if int(one["advice_id"]) < 150]
    others = [one for one in rewards if int(one["advice_id"]) >= 150]
    begun = Keeping(KINDS[1], ["a", "b", "c"], None, "", "", [], last=FEW)
    begun.decisions(placed(first))
    begun.rewards(placed(early))
    begun.end(whole=False)
    settled = begun.settle(NOW)
    assert settled is not None
    assert (settled.actions, settled.n, settled.open) == ("129", 130, [])
    counted = [n for n, one in enumerate(early) if int(one["advice_id"]) < 130]
    assert settled.rewards == str(counted[-1])
    seen = str(len(early) - 1)

    def on(more: Rows) -> Keeping:
        read = placed(early + more)[int(settled.rewards) + 1 :]
        again = Keeping(KINDS[1], ["a", "b", "c"], settled.tally, settled.rewards, seen, [], settled.n, FEW)
        again.decisions(placed(first)[130:] + placed(rest, 150))
        again.rewards(read)
        return again

    good = on(others)
    good.end(whole=False)
    close(good.answer(), whole(decisions, rewards, KINDS[1]))
    late = on([*others, early[3] | {"date_ms": 77_000_000}])
    with pytest.raises(Late):
        late.end(whole=False)
    # What counts for nothing is late for nothing.
    for mark in ("part", "late"):
        on([*others, early[3] | {mark: True}]).end(whole=False)
    # Of an advice id that no decision has, nothing can be missing where all was read.
    alone = Keeping(KINDS[1], [], None, "", "", [])
    alone.rewards(placed(early[:1]))
    alone.end(whole=True)


def test_rows_that_do_not_suit_are_noticed() -> None:
    decisions, rewards = logged(7, 3)
    for row in ({"action": {"arm": "a"}}, decisions[0] | {"shadow": {"action": "b"}}):
        with pytest.raises(Unsuited):
            Keeping(KINDS[1], [], None, "", "", []).decisions([(msgspec.json.encode(row), 0, "1")])
    with pytest.raises(Unsuited):
        Keeping(KINDS[1], [], None, "", "", []).rewards([(b'{"reward": 1}', 0, "1")])
    assert rewards
