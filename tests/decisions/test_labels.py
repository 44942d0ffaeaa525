"""Views of theta name every row apart."""

from __future__ import annotations

import itertools

from streamsim.decisions.wire import theta_labels

PARTS = ("", "a", "b", "a:b", "b:c", "c", ":", "\\", "\\:", "a\\", "a\\:b")


def test_rows_are_named_as_ever_where_that_tells_them_apart() -> None:
    assert theta_labels([("arm", "1"), ("arm", "2"), ("user:7", ""), ("", "")]) == [
        "arm:1",
        "arm:2",
        "user:7",
        "",
    ]


def test_rows_whose_names_would_be_one_have_two() -> None:
    assert theta_labels([("a:b", "c"), ("a", "b:c"), ("x:y", "")]) == ["a\\:b:c", "a:b:c", "x:y"]


def test_no_three_rows_share_a_name() -> None:
    rows = list(itertools.product(PARTS, PARTS))
    for some in itertools.combinations(rows, 3):
        assert len(set(theta_labels(some))) == 3, some
    assert len(set(theta_labels(rows))) == len(rows)
