"""Columns of an upload that have names of their own, as those of the Open Bandit Dataset."""

from __future__ import annotations

import pytest

from streamsim.errors import BadRequest
from streamsim.evaluation.estimation import Estimation
from streamsim.evaluation.wire import EstimatesLoad

RAW = (
    ",timestamp,item_id,position,click,propensity_score,user_feature_0\n"
    "0,2019-11-24 00:00:04,79,2,0,0.0125,81ce\n"
    "1,2019-11-24 00:00:12,14,1,1,0.0125,81ce\n"
)
NAMES = ("item_id", "click", "propensity_score", ["user_feature_0", "position"])


def read(action: str, reward: str, propensity: str | None, context: list[str]) -> Estimation:
    load = EstimatesLoad(
        "csv", action, reward, 100, None, 0, propensity_field=propensity, context_fields=context
    )
    estimation = Estimation(load)
    estimation.add_text(RAW.encode())
    assert estimation.read() == 2
    return estimation


def test_columns_are_named_by_the_request() -> None:
    data = read(*NAMES).data
    assert data.actions == ["79", "14"]
    assert data.rewards.tolist() == [0.0, 1.0]
    assert data.propensities.tolist() == [0.0125, 0.0125]
    assert data.contexts == [
        {"user_feature_0": "81ce", "position": 2},
        {"user_feature_0": "81ce", "position": 1},
    ]
    assert set(data.ignored) == {"column 1", "timestamp"}


@pytest.mark.parametrize(
    ("names", "field"),
    [
        (("item", "click", None, []), "action"),
        (("item_id", "clicks", None, []), "reward"),
        (("item_id", "click", "p", []), "propensity_field"),
        (("item_id", "click", None, ["age"]), "context_fields"),
    ],
)
def test_a_column_that_is_not_there_is_named(
    names: tuple[str, str, str | None, list[str]], field: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        read(*names)
    assert caught.value.field == field
