"""Checks in which a policy is enrolled by its folder alone."""

from __future__ import annotations

import ast
import re
import statistics
from typing import Any

import pytest

from streamsim.experiments import catalogue

from tests.policies.play import ENTRIES, Player, Step, play, play_uniformly, seed

FOLDERS = sorted(path.name for path in catalogue.DIRECTORY.iterdir() if path.is_dir() and path.name[0] != "_")
ROUNDS = {"bootstrapped-thompson": 500, "linucb": 500, "lints": 500}
LIGHTER = {"bootstrapped-thompson": {"REPLICATES": 10}}
"""Where 1500 rounds against uniform choice, or the default parameters, would be slow."""


def test_every_folder_has_its_number_in_the_index() -> None:
    listed = re.findall(r"^- (\S+)$", (catalogue.DIRECTORY / "index.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == FOLDERS


@pytest.fixture(params=FOLDERS)
def slug(request: pytest.FixtureRequest) -> str:
    seed(20)
    folder: str = request.param
    return folder


def played(slug: str, rounds: int, number: int = 1, **options: Any) -> list[Step]:
    seed(number)
    return play(Player(ENTRIES[slug], LIGHTER.get(slug), **options), rounds)


def test_its_folder_holds_a_description_and_four_pieces_that_compile(slug: str) -> None:
    entry = ENTRIES[slug]
    folder = catalogue.DIRECTORY / slug
    files = {path.name for path in folder.iterdir() if path.name != "__pycache__"}
    assert files == {"policy.yml", *(f"{piece}.py" for piece in catalogue.PIECES)}
    for piece, source in entry.code.items():
        assert source == (folder / f"{piece}.py").read_text(encoding="utf-8")
        compile(source, f"<{piece}>", "exec")
    described = entry.description
    assert all((described.name, described.idea, described.context, described.reference))
    assert "\n" not in described.idea, "one paragraph"


def test_its_parameters_are_the_assignments_at_the_top_of_its_code(slug: str) -> None:
    assigned: dict[str, Any] = {}
    for source in ENTRIES[slug].code.values():
        for line in source.splitlines():
            if found := re.fullmatch(r"([A-Z][A-Z0-9_]*) = (.+)", line):
                value = ast.literal_eval(found[2])
                assert assigned.setdefault(found[1], value) == value, f"{found[1]} differs between pieces"
            elif line and not line.startswith("#"):
                break
    parameters = ENTRIES[slug].description.parameters
    assert {parameter.name: parameter.default for parameter in parameters} == assigned
    for parameter in parameters:
        assert parameter.meaning
        if not isinstance(parameter.range, str):
            least, most = parameter.range
            assert least is None or parameter.default >= least
            assert most is None or parameter.default <= most


def test_a_seeded_run_repeats(slug: str) -> None:
    first = played(slug, 40)
    assert played(slug, 40) == first
    assert played(slug, 40, number=2) != first


def test_theta_survives_json_between_calls(slug: str) -> None:
    assert played(slug, 40, forgetful=True) == played(slug, 40)


def test_decisions_write_theta_only_to_assign_a_participant(slug: str) -> None:
    seed(3)
    player = Player(ENTRIES[slug], LIGHTER.get(slug))
    play(player, 30)
    context = player.context()
    before = dict(player.rows)
    player.decide(context)
    player.decide(context)
    if slug != "social-science-experiment":
        assert player.rows == before


def test_logged_propensities_are_probabilities_and_sum_to_one_over_the_arms(slug: str) -> None:
    described = ENTRIES[slug].description
    for step in played(slug, 200):
        propensity = step.action.get("propensity")
        assert (propensity is not None) == described.logs_propensity
        if propensity is not None:
            assert 0 < propensity <= 1
        if step.probabilities is not None:
            assert set(step.probabilities) == set(described.arms)
            assert sum(step.probabilities.values()) == pytest.approx(1, abs=1e-12)
            assert min(step.probabilities.values()) >= 0
            assert propensity == step.probabilities[step.action[described.action.field]]


def test_a_policy_that_learns_beats_uniform_choice_in_its_own_environment(slug: str) -> None:
    entry = ENTRIES[slug]
    if not entry.description.learns:
        return
    rounds = ROUNDS.get(slug, 1500)
    field = entry.description.reward.field
    own = [step.reward[field] for step in played(slug, rounds)]
    uniform = play_uniformly(entry, rounds)
    error = ((statistics.variance(own) + statistics.variance(uniform)) / rounds) ** 0.5
    assert statistics.mean(own) - statistics.mean(uniform) > 4 * error


def test_an_arm_added_to_a_running_experiment_is_tried_and_the_others_keep_what_they_learnt(
    slug: str,
) -> None:
    entry = ENTRIES[slug]
    described = entry.description
    if "ARMS" not in {parameter.name for parameter in described.parameters} or described.needs:
        return
    seed(4)
    running = Player(entry)
    play(running, 300)
    arms = [*described.arms, "added"]
    edited = Player(entry, {"ARMS": arms}, rows=running.rows)
    assert edited.rows == running.rows
    chosen = []
    for _ in range(400):
        context = running.context()
        action, _ = edited.decide(context)
        chosen.append(action[described.action.field])
        edited.learn(context, action, {described.reward.field: 1})
    assert "added" in chosen

    seed(5)
    given = Player(entry, rows=running.rows)
    chosen = [given.decide({**given.context(), "arms": arms})[0][described.action.field] for _ in range(200)]
    assert set(chosen) <= set(arms), "the context's arms take precedence"
    only = given.decide({**given.context(), "arms": ["added"]})[0]
    assert only[described.action.field] == "added"


def test_edited_parameters_reach_the_code(slug: str) -> None:
    entry = ENTRIES[slug]
    for parameter in entry.description.parameters:
        edited = entry.edited({parameter.name: "EDITED"})
        found = [
            catalogue.assignments(source)[parameter.name]
            for source in edited.values()
            if parameter.name in catalogue.assignments(source)
        ]
        assert set(found) == {"EDITED"}
        for piece, source in edited.items():
            compile(source, piece, "exec")
            assert len(source.splitlines()) == len(entry.code[piece].splitlines())
