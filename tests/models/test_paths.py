"""The parser of variable paths."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamsim.models.paths import BadPath, Field, Index, parse, split

names = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)
keys = st.one_of(
    st.integers(0, 10**9),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8).filter(
        lambda text: not (text.startswith("__") and text.endswith("__"))
    ),
)
steps = st.one_of(names.map(Field), st.lists(keys, min_size=1, max_size=3).map(lambda k: Index(tuple(k))))


def shown(step: Field | Index) -> str:
    if isinstance(step, Field):
        return f".{step.name}"
    quoted = [
        str(k) if isinstance(k, int) else '"' + k.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for k in step.keys
    ]
    return f"[{', '.join(quoted)}]"


@given(names, st.lists(steps, max_size=6))
def test_what_is_written_as_a_path_is_read_as_that_path(name: str, parts: list[Field | Index]) -> None:
    path = parse(name + "".join(map(shown, parts)))
    assert (path.name, path.steps) == (name, tuple(parts))


@given(st.text(max_size=40) | st.text("ab_.[]\"'\\0 ,(", max_size=20), st.booleans())
@example("a.__class__", False)
@example("a[__class__]", True)
@example("a['__class__']", False)
@example("\uff3f\uff3fclass\uff3f\uff3f", False)
def test_any_text_is_a_path_or_is_refused_by_name(text: str, free: bool) -> None:
    try:
        path = parse(text, free=free)
    except BadPath as refused:
        assert text[:100] in str(refused) or not text.isprintable()  # noqa: PT017
        return
    parts = [path.name]
    for step in path.steps:
        parts += [step.name] if isinstance(step, Field) else [k for k in step.keys if isinstance(k, str)]
    assert not any(part.startswith("__") and part.endswith("__") for part in parts)
    if not free:
        fields = [step.name for step in path.steps if isinstance(step, Field)]
        assert all(name.isidentifier() and not name.startswith("_") for name in (path.name, *fields))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "_x",
        "__builtins__",
        "x.__class__",
        "x._y",
        "x['__dict__']",
        "x[-1]",
        "x[01]",
        "x[1.5]",
        "x[]",
        "x[1",
        "x]",
        "x..y",
        "x.",
        "x()",
        "x[1:2]",
        "x[y]",
        "x + y",
        "x;y",
        "1x",
        "x\n",
        "x[99999999999]",
        "\ufb01x",
        "x" * 501,
        "x" + "[0]" * 17,
    ],
)
def test_bad_paths_are_refused(text: str) -> None:
    with pytest.raises(BadPath):
        parse(text)


def test_free_names_are_those_of_vensim() -> None:
    path = parse("Teacup Temperature[ north, 3]", free=True)
    assert (path.name, path.steps) == ("Teacup Temperature", (Index(("north", 3)),))
    assert parse("sales.rate", free=True).name == "sales.rate"


@given(st.lists(st.tuples(names, st.lists(steps, max_size=3)), max_size=5))
def test_a_list_of_paths_is_split_at_its_own_commas_only(
    given: list[tuple[str, list[Field | Index]]],
) -> None:
    paths = [name + "".join(map(shown, parts)) for name, parts in given]
    if all(set(path) <= set(string.printable) for path in paths):
        assert split(",".join(paths)) == paths
