"""The admin API: creating, reading, listing, editing and deleting experiments, and the catalogue."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from streamsim.server.upkeep import Upkeep
from streamsim.services import Services
from tests.application import Caller, Clock

CODE = {
    "get_context": "self.context['age'] = 30",
    "get_action": "self.action['arm'] = 'a'",
    "get_reward": "self.reward['value'] = 1",
    "set_reward": "self.set_theta({'n': 1})",
}
PROPERTIES: dict[str, Any] = {
    "advice_id": True,
    "hourly_theta": True,
    "delta_hours": 24,
    "default_reward": {"value": 0},
}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_created_experiment_has_an_id_a_key_and_all_that_was_given(ann: Caller) -> None:
    created = (await ann.post("/exp", {"name": "first", **CODE, **PROPERTIES})).body
    assert created.keys() == {"id", "name", "key", "error"}
    assert created["name"] == "first"
    assert created["error"] is False
    shown = await ann.get(f"/exp/{created['id']}")
    assert shown.status == 200
    assert shown.body == {
        "id": created["id"],
        "key": created["key"],
        "name": "first",
        **CODE,
        **PROPERTIES,
        "log_propensity": False,
        "arm_field": None,
        "compat": None,
        "public_origins": False,
        "revision": 1,
        "created": shown.body["created"],
        "modified": shown.body["created"],
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", shown.body["created"])


@pytest.mark.gen_test
async def test_only_the_name_is_required(ann: Caller) -> None:
    created = await ann.experiment("bare")
    shown = (await ann.get(f"/exp/{created['id']}")).body
    assert {piece: shown[piece] for piece in CODE} == dict.fromkeys(CODE, "")
    assert (shown["advice_id"], shown["hourly_theta"], shown["log_propensity"]) == (False, False, False)
    assert shown["delta_hours"] is None
    assert shown["default_reward"] is None


@pytest.mark.gen_test
async def test_ids_and_keys_are_unguessable(ann: Caller) -> None:
    made = [await ann.experiment(f"number {n}") for n in range(8)]
    texts = [one[field] for one in made for field in ("id", "key")]
    assert len(set(texts)) == len(texts)
    for text in texts:
        assert re.fullmatch(r"[0-9a-f]{32}", text)  # 128 bits
    # No position of the ids counts up or stands still, as it would in a clock or a counter.
    for column in zip(*(one["id"] for one in made), strict=True):
        assert len(set(column)) > 1


@pytest.mark.gen_test
async def test_both_spellings_of_streamingbandit_are_taken(ann: Caller) -> None:
    def flat(code: dict[str, str]) -> dict[str, str]:
        return {piece.replace("_", ""): text for piece, text in code.items()}

    id = (await ann.experiment("first", **flat(CODE)))["id"]
    for spelled in (dict, flat):
        changed = {piece: text + f"\n# {spelled.__name__}" for piece, text in CODE.items()}
        assert (await ann.put(f"/exp/{id}", spelled(changed))).status == 200
        assert changed.items() <= (await ann.get(f"/exp/{id}")).body.items()
    both = await ann.post("/exp", {"name": "x", "get_action": "", "getaction": ""})
    assert both.status == 400


@pytest.mark.gen_test
@pytest.mark.parametrize("field", ["advice_id", "hourly_theta", "log_propensity"])
async def test_booleans_are_taken_as_json_and_as_text(ann: Caller, field: str) -> None:
    id = (await ann.experiment("one", delta_hours=1))["id"]
    for given, meant in (
        (True, True), (False, False), ("True", True), ("False", False), ("true", True), ("false", False),
        ("yes", True), ("no", False), ("y", True), ("n", False), ("1", True), ("0", False), ("", False),
    ):  # fmt: skip
        assert (await ann.put(f"/exp/{id}", {field: given})).status == 200
        assert (await ann.get(f"/exp/{id}")).body[field] is meant
    refused: Any
    for refused in (1, 0, None, "2", "maybe", [], {}):
        answer = await ann.put(f"/exp/{id}", {field: refused})
        assert answer.status == 400
        assert answer.body["error"]["field"] == field


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("given", "kept"),
    [(0, 0), (99_999, 99_999), ("24", 24), (None, None), (24.0, 24), ("24.0", 24), ("", None)],
)
async def test_delta_hours_in_range(ann: Caller, given: object, kept: object) -> None:
    id = (await ann.experiment(delta_hours=given))["id"]
    assert (await ann.get(f"/exp/{id}")).body["delta_hours"] == kept


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("given", "reward"),
    [
        ('{"value": 0.5}', {"value": 0.5}),
        ("{'value': 0, 'why': None, 'sure': True}", {"value": 0, "why": None, "sure": True}),
        (" {'a': (1, 2)}\n", {"a": [1, 2]}),
        ("{}", {}),
        ({"value": 1}, {"value": 1}),
    ],
)
async def test_default_reward_stays_the_text_that_it_was_and_is_a_dict_to_the_code(
    ann: Caller, services: Services, clock: Clock, given: Any, reward: dict[str, Any]
) -> None:
    created = await ann.experiment(
        default_reward=given, advice_id=True, delta_hours=0, set_reward="self.set_theta({'r': self.reward})"
    )
    assert (await ann.get(f"/exp/{created['id']}")).body["default_reward"] == given
    await ann.get(f"/getaction/{created['id']}", key=created["key"])
    clock.ahead_ms = 1000
    await Upkeep(services, clock).advices()
    assert (await ann.get(f"/stats/{created['id']}/currenttheta")).body == {"r": reward}


@pytest.mark.gen_test
async def test_empty_text_is_no_default_reward(ann: Caller) -> None:
    id = (await ann.experiment(default_reward=""))["id"]
    assert (await ann.get(f"/exp/{id}")).body["default_reward"] is None


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": 5}, "name"),
        ({"get_action": None}, "get_action"),
        ({"get_action": ["a"]}, "get_action"),
        ({"getaction": 5}, "getaction"),
        ({"set_reward": "#" * (256 * 1024 + 1)}, "set_reward"),
        ({"delta_hours": -1}, "delta_hours"),
        ({"delta_hours": 100_000}, "delta_hours"),
        ({"delta_hours": 1.5}, "delta_hours"),
        ({"delta_hours": True}, "delta_hours"),
        ({"delta_hours": "many"}, "delta_hours"),
        ({"advice_id": True}, "delta_hours"),
        ({"default_reward": 1}, "default_reward"),
        ({"default_reward": [1]}, "default_reward"),
        ({"default_reward": "{"}, "default_reward"),
        ({"default_reward": "7"}, "default_reward"),
        ({"default_reward": "{'value': open('x')}"}, "default_reward"),
        ({"default_reward": "{'value': float('nan')}"}, "default_reward"),
        ({"default_reward": "{'value': 1e999}"}, "default_reward"),
        ({"default_reward": "(" * 5000}, "default_reward"),
        ({"delta_hours": "24.5"}, "delta_hours"),
        ({"compat": "bptk"}, "compat"),
        ({"compat": True}, "compat"),
        ({"public_origins": ["*"]}, "public_origins"),
    ],
)
async def test_malformed_field_is_refused_by_name(ann: Caller, fields: dict[str, Any], field: str) -> None:
    answer = await ann.post("/exp", {"name": "one", **fields})
    assert answer.status == 400
    assert answer.body["error"]["field"] == field
    assert (await ann.get("/exp")).body == {}
    id = (await ann.experiment("two"))["id"]
    before = (await ann.get(f"/exp/{id}")).body
    answer = await ann.put(f"/exp/{id}", fields)
    assert answer.status == 400
    assert answer.body["error"]["field"] == field
    assert (await ann.get(f"/exp/{id}")).body == before


@pytest.mark.gen_test
async def test_fields_that_there_are_not_are_left_out_with_a_warning(ann: Caller) -> None:
    given = {"name": "one", "colour": "red", "key": "mine", "revision": 7, "get_action": "x = 1"}
    created = (await ann.post("/exp", given)).body
    assert created["warning"] == [
        "there is no field colour; it was left out",
        "key is assigned by the server; what you gave was left out",
        "revision is assigned by the server; what you gave was left out",
    ]
    shown = (await ann.get(f"/exp/{created['id']}")).body
    assert (shown["get_action"], shown["revision"], shown["key"]) == ("x = 1", 1, created["key"])
    assert "colour" not in shown
    edited = await ann.put(f"/exp/{created['id']}", {"get_action": "x = 2", "setaction": ""})
    assert edited.body["warning"] == ["there is no field setaction; it was left out"]
    many = await ann.put(f"/exp/{created['id']}", {f"f{n}": 0 for n in range(100)})
    assert many.body["warning"][20:] == ["and 80 more"]
    assert "warning" not in (await ann.put(f"/exp/{created['id']}", {"name": "two"})).body


@pytest.mark.gen_test
async def test_name_is_missing(ann: Caller) -> None:
    answer = await ann.post("/exp", CODE)
    assert answer.status == 400
    assert answer.body["error"]["field"] == "name"


@pytest.mark.gen_test
@pytest.mark.parametrize("piece", list(CODE))
@pytest.mark.parametrize(
    ("code", "line"),
    [("x = 1\ny = (\n", 2), ("if True:\nx = 1", 2), ("a = 1\nb = 2\nreturn 3", 3), ("x = '\n", 1)],
)
async def test_code_that_does_not_compile_is_refused_with_its_line(
    ann: Caller, piece: str, code: str, line: int
) -> None:
    answer = await ann.post("/exp", {"name": "broken", piece: code})
    assert answer.status == 400
    error = answer.body["error"]
    assert error["field"] == piece
    assert error["detail"]["line"] == line
    assert error["detail"]["message"]
    assert (await ann.get("/exp")).body == {}


@pytest.mark.gen_test
async def test_code_that_does_not_compile_is_refused_in_an_edit(ann: Caller) -> None:
    id = (await ann.experiment(**CODE))["id"]
    answer = await ann.put(f"/exp/{id}", {"name": "other", "set_reward": "def"})
    assert answer.status == 400
    assert answer.body["error"]["field"] == "set_reward"
    shown = (await ann.get(f"/exp/{id}")).body
    assert (shown["name"], shown["set_reward"], shown["revision"]) == ("an experiment", CODE["set_reward"], 1)


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_names_are_unique_per_user(ann: Caller, bob: Caller) -> None:
    first = await ann.experiment("same")
    second = await ann.experiment("other")
    await bob.experiment("same")
    renamed = await ann.put(f"/exp/{second['id']}", {"name": "same"})
    assert (renamed.status, renamed.body["error"]["field"]) == (409, "name")
    more = [await ann.experiment("same") for _ in range(2)]
    assert [one["name"] for one in more] == ["same (2)", "same (3)"]
    assert more[0]["warning"] == ["you have an experiment named same already; this one is same (2)"]
    assert (await ann.get(f"/exp/{more[1]['id']}")).body["name"] == "same (3)"
    long = [(await ann.experiment("x" * 200))["name"] for _ in range(2)]
    assert long == ["x" * 200, "x" * 196 + " (2)"]
    assert (await ann.put(f"/exp/{first['id']}", {"name": "same"})).status == 200
    await ann.delete(f"/exp/{first['id']}")
    assert (await ann.put(f"/exp/{second['id']}", {"name": "same"})).status == 200


@pytest.mark.gen_test
async def test_the_worker_of_a_deleted_experiment_makes_room(ann: Caller, services: Services) -> None:
    first, second = [(await ann.post("/exp", {"name": "one", **CODE})).body for _ in range(2)]
    for made in (first, second):
        assert (await ann.get(f"/getaction/{made['id']}", key=made["key"])).status == 200

    def live() -> list[str]:
        workers = services.decisions._sandbox.workers
        return [made["id"] for made in (first, second) if any(made["id"] in one.identity for one in workers)]

    assert live() == [first["id"], second["id"]]
    assert (await ann.delete(f"/exp/{first['id']}")).status == 200
    assert live() == [second["id"]]


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_delete_answers_the_experiment_and_makes_it_gone(ann: Caller) -> None:
    created = await ann.experiment("doomed", **CODE)
    url = f"/exp/{created['id']}"
    shown = (await ann.get(url)).body
    deleted = await ann.delete(url)
    assert deleted.status == 200
    changed = {"revision", "modified"}
    assert {k: v for k, v in deleted.body.items() if k not in changed} == {
        k: v for k, v in shown.items() if k not in changed
    }
    assert (await ann.get("/exp")).body == {}
    key = created["key"]
    for answer in (
        await ann.get(url),
        await ann.put(url, {"name": "back"}),
        await ann.delete(url),
        await ann.get(url + "/resetexperiment", key=key),
        await ann.get(f"/stats/{created['id']}/summary"),
        await ann.get(f"/getaction/{created['id']}", key=key),
        await ann.get(f"/setreward/{created['id']}", key=key, reward={}),
    ):
        assert answer.status == 401


@pytest.mark.gen_test
async def test_list_pairs_ids_with_names(ann: Caller, bob: Caller) -> None:
    made = [await ann.experiment(f"number {n}") for n in range(3)]
    await bob.experiment("not hers")
    answer = await ann.get("/Exp")
    assert answer.body == {one["id"]: one["name"] for one in made}
    assert "link" not in answer.headers


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_list_pages_hold_every_experiment_once(ann: Caller) -> None:
    made = {(one := await ann.experiment(f"number {n}"))["id"]: one["name"] for n in range(7)}
    seen: list[tuple[str, str]] = []
    path = "/exp?limit=3"
    sizes = []
    while path:
        answer = await ann.get(path)
        sizes.append(len(answer.body))
        seen += answer.body.items()
        link = re.fullmatch(r'<(/exp\?\S+)>; rel="next"', answer.headers.get("link", ""))
        path = link[1] if link else ""
    assert sizes == [3, 3, 1]
    assert len(seen) == 7
    assert dict(seen) == made


@pytest.mark.gen_test
@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "", "1.5", "１"])
async def test_bad_limit_is_refused(ann: Caller, limit: str) -> None:
    answer = await ann.get("/exp", limit=limit)
    assert answer.status == 400
    assert answer.body["error"]["field"] == "limit"


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_experiment_of_another_user_looks_like_one_that_does_not_exist(
    ann: Caller, bob: Caller, nobody: Caller
) -> None:
    created = await ann.experiment(**CODE)
    key = created["key"]

    async def answers(client: Caller, id: str) -> list[tuple[int, str]]:
        requests: list[tuple[str, str, Any, dict[str, object]]] = [
            ("GET", f"/exp/{id}", None, {}),
            ("PUT", f"/exp/{id}", {"name": "taken over"}, {}),
            ("PUT", f"/exp/{id}", {"get_action": "def"}, {}),
            ("DELETE", f"/exp/{id}", None, {}),
            ("GET", f"/exp/{id}/resetexperiment", None, {"key": key}),
            *(
                ("GET", f"/stats/{id}/{what}", None, {})
                for what in ("currenttheta", "hourlytheta", "log", "actionlog", "rewardlog", "summary")
            ),
        ]
        got = []
        for method, path, body, query in requests:
            answer = await client.request(method, path, body=body, query=query)
            got.append((answer.status, json.dumps(answer.body)))
        return got

    unknown = "0" * 32
    theirs, nothing = await answers(bob, created["id"]), await answers(bob, unknown)
    assert theirs == nothing
    assert {status for status, _ in theirs} == {401}
    assert {status for status, _ in await answers(nobody, created["id"])} == {401}
    assert (await ann.get(f"/exp/{created['id']}")).body["revision"] == 1


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_concurrent_edits_all_take_effect(ann: Caller) -> None:
    id = (await ann.experiment(**CODE, **PROPERTIES))["id"]
    edits: list[dict[str, Any]] = [
        {"delta_hours": 7},
        {"default_reward": {"value": 7}},
        {"hourly_theta": False},
        {"log_propensity": True},
        {"name": "renamed"},
        {"get_reward": "self.reward['value'] = 7"},
    ]
    answers = await asyncio.gather(*(ann.put(f"/exp/{id}", edit) for edit in edits))
    assert [answer.status for answer in answers] == [200] * len(edits)
    shown = (await ann.get(f"/exp/{id}")).body
    for edit in edits:
        assert edit.items() <= shown.items()
    assert shown["revision"] == 1 + len(edits)
