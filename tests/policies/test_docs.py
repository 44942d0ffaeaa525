"""docs/policies.md against the catalogue."""

from __future__ import annotations

import re
from pathlib import Path

from streamsim.experiments import catalogue
from tests.support import ROOT

DOCS = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")


def test_the_table_lists_every_policy_with_number_folder_and_whether_it_logs_propensities() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+?) \| `(.+?)` \| .+ \| (.*)\|$", DOCS, re.MULTILINE)
    logs = {True: {"yes"}, False: {"", "on request"}}
    assert len(rows) == len(catalogue.entries())
    for (number, name, slug, propensity), entry in zip(rows, catalogue.entries(), strict=True):
        assert (int(number), name, slug) == (entry.id, entry.name, entry.slug)
        assert propensity.strip() in logs[entry.description.logs_propensity]


def test_the_example_of_a_description_has_every_field() -> None:
    example = re.search(r"```yaml\n(.+?)```", DOCS, re.DOTALL)
    assert example
    fields = set(re.findall(r"^(?:# )?(\w+):", example[1], re.MULTILINE))
    assert fields == set(catalogue.Description.__struct_fields__)


def test_the_edits_shown_fit_the_code() -> None:
    code = catalogue.Catalogue(catalogue.entries()).get("2")["get_action"]
    assert "EPSILON = 0.1\n" in code
    assert '["control", "treatment"]' in code
