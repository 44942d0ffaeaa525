"""JSON values at the boundary, against the json module and NumPy."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.shapes import SHAPES, body
from streamsim import values
from streamsim.values import InvalidValue

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(VALUES)
def test_every_value_survives_and_reads_as_the_json_module_reads_it(value: Any) -> None:
    values.check(value, "v")
    assert values.plain(value, "v") == value
    text = values.dump(value)
    assert values.parse(text, "v") == value
    assert json.loads(text) == value


class Text(str):
    def __str__(self) -> str:
        raise SystemExit

    def encode(self, *_: Any) -> bytes:
        raise SystemExit


class Number(float):
    def __float__(self) -> float:
        raise KeyboardInterrupt


class Lying(dict[str, Any]):
    def items(self) -> Any:
        return [("forged", 1)]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(1.5), 1.5),
        (np.int64(-3), -3),
        (np.bool_(True), True),
        (np.arange(3), [0, 1, 2]),
        (np.eye(2), [[1.0, 0.0], [0.0, 1.0]]),
        ((1, (2.0, "x")), [1, [2.0, "x"]]),
        ([Text("a")], ["a"]),
        (Number(2.5), 2.5),
        (Lying(a=1), {"a": 1}),
        ({"a": np.float32(0.5)}, {"a": 0.5}),
        (nested(32), nested(32)),
    ],
)
def test_what_code_makes_becomes_builtin_types(value: Any, plain: Any) -> None:
    result = values.plain(value, "v")
    assert result == plain
    values.check(result, "v")


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (math.nan, "v"),
        (np.float64("inf"), "v"),
        ([1.0, math.inf], "v[1]"),
        ([1e308, 1e308, math.nan], "v[2]"),
        ({"a": {"b": [1, math.nan]}}, "v.a.b[1]"),
        (2**63, "v"),
        (-(2**63) - 1, "v"),
        ({"a": 10**5000}, "v.a"),
        (b"x", "v"),
        ({1, 2}, "v"),
        (1j, "v"),
        (object(), "v"),
        ({(1,): 2}, "v"),
        ({"a\0b": 1}, "v"),
        ({"\ud800": 1}, "v"),
        ("\ud800", "v"),
        (np.array([object()]), "v[0]"),
        (np.array([1.0, np.nan]), "v[1]"),
    ],
)
def test_what_is_no_value_is_refused_by_its_place(value: Any, where: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        values.plain(value, "v")
    assert caught.value.where == where


@pytest.mark.parametrize("value", [nested(33), cycle(), [[0] * 200] * 200])
def test_depth_and_number_of_values_are_bounded(value: Any) -> None:
    for refuses in (values.plain, values.check):
        with pytest.raises(InvalidValue):
            refuses(value, "v")


@pytest.mark.parametrize(
    "value", [math.nan, [1.0, math.inf], 2**63, b"", {1: 2}, {"a\0": 1}, (1,), Number(1.0)]
)
def test_check_takes_exact_finite_types_only(value: Any) -> None:
    with pytest.raises(InvalidValue):
        values.check(value, "v")


def test_the_path_to_a_fault_is_cut_and_costs_nothing_where_there_is_no_fault() -> None:
    long = "k" * 1_000_000
    value: dict[str, list[Any]] = {long: [0] * 10_000 + ["text"] * 9_000}
    # Each path would be a megabyte; had they been built, they would have been nineteen gigabytes.
    values.check(value, "v")
    assert values.plain(value, "v") == value
    value[long][-1] = math.nan
    for refuses in (values.plain, values.check):
        with pytest.raises(InvalidValue) as caught:
            refuses(value, "v")
        assert caught.value.where == f"v.{'k' * 63}…[18999]"
    deep: Any = math.nan
    for _ in range(30):
        deep = {"k" * 60: deep}
    with pytest.raises(InvalidValue) as caught:
        values.check(deep, "v")
    assert len(caught.value.where) == 200


def test_a_key_that_is_there_as_a_number_and_as_text_is_refused() -> None:
    with pytest.raises(InvalidValue, match="twice"):
        values.plain({1: "a", "1": "b"}, "v")


def test_nan_may_become_null() -> None:
    assert values.plain({"a": math.nan, "b": [math.inf, 1.0]}, "v", finite=False) == {
        "a": None,
        "b": [None, 1.0],
    }


@pytest.mark.parametrize(
    "text", ["", "{", "NaN", "[1,]", "nul", '{"a": 1e999}', "[" * 40 + "]" * 40, "9223372036854775808", "'a'"]
)
def test_text_that_is_no_value_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        values.parse(text, "v")
    with pytest.raises(InvalidValue):
        values.parse(b"\xff" + text.encode(), "v")


def held(value: Any) -> int:
    """How many values a dict or list holds, at all depths."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return len(items) + sum(map(held, items))


@pytest.mark.parametrize("shape", SHAPES)
def test_whether_there_are_too_many_values_is_told_before_they_are_made_and_never_wrongly(shape: str) -> None:
    text = body(shape, 200_000)
    try:
        made = held(json.loads(text, parse_int=float))
    except RecursionError:
        made = 10**6
    for source in (text, text.decode()):
        for most in (10, 1000, 20_000, 10**6):
            assert not values._has_too_many(source, most) or made > most
            if made > most:
                with pytest.raises(InvalidValue):
                    values.parse(source, "v", max_values=most)


@pytest.mark.parametrize("size", [0, 1, 2**16 - 1, 2**16, 2**16 + 1, 200_001])
def test_commas_and_containers_are_counted_wherever_they_are(size: int) -> None:
    text = random.Random(size).randbytes(size)
    assert values._counted(text) == max(text.count(b","), text.count(b"[") + text.count(b"{") - 1)


@given(VALUES)
def test_a_text_with_few_values_is_never_said_to_have_too_many(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert not values._has_too_many(text, held(value))


@pytest.mark.parametrize("text", [b'"\\"' + b'\\"' * 500_000, b'"' + b"\\" * 1_000_000, b'["' * 500_000])
def test_texts_without_an_end_are_looked_at_once(text: bytes) -> None:
    # Quadratic, this would take hours.
    with pytest.raises(InvalidValue):
        values.parse(text + b"," * 30_000, "v")


def test_sorted_text_does_not_depend_on_the_order_of_keys() -> None:
    assert values.dump_sorted({"b": 1, "a": {"d": 1, "c": 2}}) == values.dump_sorted(
        {"a": {"c": 2, "d": 1}, "b": 1}
    )


def test_commas_and_brackets_in_texts_are_no_values_wherever_texts_begin_and_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(values, "_BLOCK", 7)
    rng = random.Random(1)
    for _ in range(500):
        pieces = [rng.choice(("a", '"', "\\", ",", "[", "{", "\n", "é")) for _ in range(rng.randrange(60))]
        made = ["".join(pieces[at : at + 5]) for at in range(0, len(pieces), 5)] + [{"".join(pieces): 1}]
        text = json.dumps(made, ensure_ascii=rng.random() < 0.5)
        for form in (text, text.encode()):
            assert values.parse(form, "body", max_values=len(made) + 1) == made
