"""Reading the catalogue: order, checks, and what the admin API serves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from streamsim.experiments import catalogue
from streamsim.errors import NotFound

FIRST_TWELVE = [
    "A/B test", "E-first", "E-greedy", "Lock-in feedback", "Nested policies", "Online marketing experiment",
    "Parallel evaluation", "Social science experiment", "Bootstrapped Thompson sampling",
    "Thompson Bayesian linear regression", "Thompson optimal sampling", "K-armed Bernoulli Thompson sampling",
]  # fmt: skip
OTHERS = [
    "UCB1", "KL-UCB", "Softmax", "Exp3", "LinUCB (disjoint)", "LinTS", "Top-two Thompson sampling",
    "Discounted Thompson sampling",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalogue of two policies, which its index does not list."""
    for slug in ("e-greedy", "ucb1"):
        shutil.copytree(catalogue.DIRECTORY / slug, tmp_path / slug)
    return tmp_path


def test_numbers_and_names_of_the_catalogue() -> None:
    entries = catalogue.entries()
    assert [entry.id for entry in entries] == list(range(len(entries)))
    assert [entry.name for entry in entries][:20] == FIRST_TWELVE + OTHERS


def test_the_admin_api_gets_names_by_number_and_one_policy_whole() -> None:
    served = catalogue.Catalogue(catalogue.entries())
    assert served.names()["2"] == "E-greedy"
    policy = served.get("2")
    assert policy["name"] == "E-greedy"
    assert policy["slug"] == "e-greedy"
    assert "EPSILON = 0.1" in policy["get_action"]
    assert {"get_context", "get_reward", "set_reward", "idea", "reference"} <= set(policy)
    assert policy["parameters"][1] == {
        "name": "EPSILON", "default": 0.1, "range": [0.0, 1.0], "meaning": "the probability of exploring",
    }  # fmt: skip


@pytest.mark.parametrize("number", [str(len(catalogue.entries())), "999", "e-greed", "-20", "03"])
def test_an_unknown_number_is_not_found(number: str) -> None:
    with pytest.raises(NotFound, match=f"policies 0 to {len(catalogue.entries()) - 1},"):
        catalogue.Catalogue(catalogue.entries()).get(number)


def test_unlisted_folders_follow_the_listed_ones_by_name(folder: Path) -> None:
    assert [entry.slug for entry in catalogue.load(folder)] == ["e-greedy", "ucb1"]
    (folder / "index.yml").write_text("- ucb1\n")
    assert [(entry.id, entry.slug) for entry in catalogue.load(folder)] == [(0, "ucb1"), (1, "e-greedy")]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("e-greedy/policy.yml", "learns: true", "", "e-greedy/policy.yml.*learns"),
        ("e-greedy/policy.yml", "learns: true", "learns: perhaps", r"policy.yml.*\$.learns"),
        ("e-greedy/policy.yml", "learns: true", "learns: true\nlearned: true", "policy.yml.*learned"),
        ("e-greedy/policy.yml", "default: 0.1", "default: 0.2", "differ in EPSILON"),
        ("e-greedy/policy.yml", "name: EPSILON", "name: EPSILONS", "differ in EPSILON, EPSILONS"),
        ("e-greedy/get_action.py", "EPSILON = 0.1", "EPSILON = 0.2", "differ in EPSILON"),
        ("e-greedy/get_action.py", "arms = ", "arms == = ", "get_action.py: .*line 5"),
        ("e-greedy/set_reward.py", "arm = ", "EPSILON = 0.3\narm = ", "EPSILON has different values"),
        ("e-greedy/policy.yml", "learns", "needs: [{parameter: X, policy: ucb1}]\nlearns", "need X is no"),
        ("e-greedy/policy.yml", "learns", "needs: [{parameter: EPSILON, policy: y}]\nlearns", "'y'"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_folder(folder: Path, file: str, old: str, new: str, message: str) -> None:
    path = folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(catalogue.CatalogueError, match=message):
        catalogue.load(folder)


def test_an_index_that_lists_what_is_not_there_is_refused(folder: Path) -> None:
    (folder / "index.yml").write_text("- gone\n")
    with pytest.raises(catalogue.CatalogueError, match="'gone'"):
        catalogue.load(folder)
    (folder / "index.yml").write_text("- ucb1\n- ucb1\n")
    with pytest.raises(catalogue.CatalogueError, match="'ucb1'"):
        catalogue.load(folder)


def test_a_missing_piece_is_refused(folder: Path) -> None:
    (folder / "ucb1" / "get_reward.py").unlink()
    with pytest.raises(catalogue.CatalogueError, match=r"ucb1/get_reward\.py"):
        catalogue.load(folder)


def test_parameters_are_the_literal_assignments_before_anything_else() -> None:
    source = "# comment\nA = 1\nB = [\n    'x',\n    -2.5,\n]\nimport math\nC = 3\n"
    assert catalogue.assignments(source) == {"A": 1, "B": ["x", -2.5]}
    assert catalogue.assignments("A = f()\nB = 2\n") == {}
    assert catalogue.assignments("lower = 1\n") == {}


def test_editing_replaces_values_in_place_and_nothing_else(folder: Path) -> None:
    entry = catalogue.load(folder)[0]
    edited = entry.edited({"ARMS": ["é", "b"], "EPSILON": 0.25})
    assert "ARMS = ['é', 'b']\nEPSILON = 0.25\n" in edited["get_action"]
    assert edited["set_reward"] == entry.code["set_reward"]
    with pytest.raises(KeyError, match="no parameter NONE"):
        entry.edited({"NONE": 1})
