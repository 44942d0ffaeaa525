"""Uploaded logs: what they must look like, and what they become."""

from __future__ import annotations

import json

import numpy as np
import pytest

from streamsim.errors import BadRequest, TooLarge
from streamsim.evaluation import logs, own_log, uploads

ARMS = ["1.10", "1.1", "1.0", "1", "1e3", "1000", "1_000", "007", "true", "NaN", "+1", ".5", '"quoted"']


def test_csv_and_json_lines_of_the_same_log_give_the_same_data() -> None:
    rows = [
        {"context": {"age": 31, "city": "Köln, Süd"}, "action": "A", "reward": 1, "propensity": 0.5},
        {"context": {}, "action": {"arm": "B"}, "reward": {"click": 0}},
        {"context": {"vip": True}, "action": 2, "reward": -0.5, "propensity": 1},
    ]
    lines = "\n".join(map(json.dumps, rows)) + "\n\n"
    table = (
        "\ufeffaction, Reward ,propensity,context.age,context.city,context.vip\r\n"
        'A,1,0.5,31,"Köln, Süd",\r\n'
        '"{""arm"":""B""}","{""click"":0}",,,,\r\n'
        "\r\n"
        "2,-0.5,1.0,,,true\r\n"
    )
    whole = (
        "context,action,reward,propensity\n"
        '"{""age"": 31, ""city"": ""Köln, Süd""}",A,1,.5\n'
        ',"{""arm"":""B""}",FALSE,NA\n'
        '"{""vip"":true}",2,-0.5,1\n'
    )
    for data in (
        uploads.parse_json_lines(lines.encode()),
        uploads.parse_csv(table.encode()),
        uploads.parse_csv(whole),
    ):
        assert data.contexts == [row["context"] for row in rows]
        assert data.actions == ["A", "B", "2"]
        assert data.rewards.tolist() == [1.0, 0.0, -0.5]
        assert np.array_equal(data.propensities, [0.5, np.nan, 1.0], equal_nan=True)
        assert data.arms == ("2", "A", "B")
        assert data.index(("A", "B", "2", "C")).tolist() == [0, 1, 2]


def test_a_quoted_cell_may_hold_line_ends_and_later_faults_still_name_their_line() -> None:
    text = 'action,reward,context.note\n"A",1,"two\nlines"\nB,x,\n'
    with pytest.raises(BadRequest, match="line 4, reward") as caught:
        uploads.parse_csv(text)
    assert (caught.value.field, caught.value.detail) == ("reward", {"line": 4})
    assert uploads.parse_csv(text.replace("B,x", "B,0")).contexts == [{"note": "two\nlines"}, {}]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("A,,0.5,{}", "reward"),
        ("A,nan,0.5,{}", "reward"),
        ("A,1e999,0.5,{}", "reward"),
        ('A,"{""a"":1,""b"":2}",0.5,{}', "reward"),
        ("A,1,0,{}", "propensity"),
        ("A,1,1.2,{}", "propensity"),
        ("A,1,half,{}", "propensity"),
        (",1,0.5,{}", "action"),
        ("{A,1,0.5,{}", "action"),
        ("A,1,0.5,[1]", "context"),
        ("A,1,0.5,x", "context"),
        ("A,1,0.5", "row"),
        ("A,1,0.5,{},9", "row"),
        ('"A"B,1,0.5,{}', "row"),
        ('"A,1,0.5,{}', "row"),
    ],
)
def test_a_faulty_csv_line_is_named_with_its_field(row: str, field: str) -> None:
    with pytest.raises(BadRequest, match=f"^line 3, {field}: ") as caught:
        uploads.parse_csv(f"action,reward,propensity,context\nA,1,0.5,{{}}\n{row}\n")
    assert caught.value.field == field
    assert caught.value.detail == {"line": 3}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("nonsense", "row"),
        ("[1]", "row"),
        ('{"action": "A"}', "reward"),
        ('{"reward": 1}', "action"),
        ('{"action": {}, "reward": 1}', "action"),
        ('{"action": "A", "reward": "1"}', "reward"),
        ('{"action": "A", "reward": 1, "propensity": 0}', "propensity"),
        ('{"action": "A", "reward": 1, "propensity": true}', "propensity"),
        ('{"action": "A", "reward": 1, "context": [1]}', "context"),
        ('{"action": "A", "reward": 1, "context": ' + "[" * 99 + "]" * 99 + "}", "row"),
    ],
)
def test_a_faulty_json_line_is_named_with_its_field(row: str, field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        uploads.parse_json_lines(f'{{"action": "A", "reward": 1}}\n\n{row}\n')
    assert caught.value.message.startswith(f"line 3, {field}")
    assert caught.value.detail == {"line": 3}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'action'|no such column"),
        ("arm,reward\nA,1\n", "line 1, action"),
        ("action;reward\nA;1\n", "separated by commas"),
        ("action,reward,Action\nA,1,B\n", "appears twice"),
        ("action,reward\n", "no rows"),
        ("action,reward\nA,\xff\n".encode("latin-1"), "line 2, row: is not UTF-8"),
    ],
)
def test_a_csv_file_that_is_no_log_is_refused(text: str | bytes, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        uploads.parse_csv(text)


def test_columns_that_are_not_read_are_named() -> None:
    assert uploads.parse_csv("date,action,reward,user\n1,A,1,x\n").ignored == ("date", "user")
    assert uploads.parse_json_lines('{"action":"A","reward":1,"user":2}').ignored == ("user",)


def test_an_actions_own_propensity_counts_where_there_is_no_other() -> None:
    data = uploads.parse_json_lines(
        '{"action":{"arm":"A","propensity":0.25},"reward":1}\n'
        '{"action":{"arm":"A","propensity":0.25},"reward":1,"propensity":0.5}'
    )
    assert data.propensities.tolist() == [0.25, 0.5]


def test_more_rows_than_allowed_are_refused() -> None:
    with pytest.raises(TooLarge, match="more than 2 rows"):
        uploads.parse_csv("action,reward\n" + "A,1\n" * 3, max_rows=2)


def test_too_many_different_actions_ask_for_the_field_that_names_the_arm() -> None:
    data = uploads.parse_csv("action,reward\n" + "".join(f"{i},1\n" for i in range(logs.MAX_ARMS + 1)))
    with pytest.raises(BadRequest) as caught:
        _ = data.arms
    assert caught.value.field == "action_field"


def test_arms_that_look_like_numbers_stay_the_text_that_they_are_however_they_are_read() -> None:
    rows = [
        {"context": {"code": "1.10", "n": 1.5}, "action": {"arm": arm}, "reward": 0.5, "propensity": 0.25}
        for arm in ARMS[:-1]
    ]
    own = own_log.from_logs([], rows)
    lines = uploads.parse_json_lines("\n".join(json.dumps(row) for row in rows))
    cells = "".join(f"{arm},0.5,0.25,1.10,1.5\n" for arm in ARMS[:-1])
    table = uploads.parse_csv(f"action,reward,propensity,context.code,context.n\n{cells}")
    assert own.actions == lines.actions == table.actions == ARMS[:-1]
    assert own.contexts == lines.contexts == table.contexts
    assert own.rewards.tolist() == lines.rewards.tolist() == table.rewards.tolist()


@pytest.mark.parametrize(
    ("cell", "value"),
    [("1.1", 1.1), ("1.10", "1.10"), ("1.0", 1.0), ("1e3", "1e3"), ("1_000", "1_000"), ("007", "007"),
     ("-0", "-0"), ("12", 12), ("true", True), ("0.1000", "0.1000"), ("+1", "+1"),
     ("99999999999999999999", "99999999999999999999")],
)  # fmt: skip
def test_a_cell_is_a_number_only_if_it_prints_back_to_the_same_text(cell: str, value: object) -> None:
    found = uploads.parse_csv(f"action,reward,context.x\na,1,{cell}\n").contexts[0]["x"]
    assert (type(found), found) == (type(value), value)


def test_a_reward_with_an_underscore_is_no_number() -> None:
    with pytest.raises(BadRequest, match="line 2, reward: must be a number"):
        uploads.parse_csv("action,reward\na,1_000\n")


def test_empty_columns_at_the_end_are_skipped_and_unnamed_ones_are_told() -> None:
    found = uploads.parse_csv("action,reward,,\na,1,,\nb,0\n")
    assert (found.actions, found.ignored) == (["a", "b"], ())
    assert uploads.parse_csv("action,,reward\na,x,1\n").ignored == ("column 2",)


def test_a_header_of_very_many_columns_is_refused() -> None:
    with pytest.raises(BadRequest, match="400002 columns"):
        uploads.parse_csv("action,reward," + ",".join(f"c{n}" for n in range(400_000)) + "\na,1\n")
