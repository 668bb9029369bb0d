"""Every field of every request is passed, translated, refused, or without effect for a written reason."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import field_matrix
import pytest
import spec_fields
from field_reasons import BY_NAME, PROVED_BY
from observed_fields import ENGINES

ROOT = Path(__file__).parents[1]
ANYTHING = {"input_schema", "logit_bias", "metadata", "parameters", "properties", "schema", *BY_NAME}
"""Names of objects in which a client may write what it likes, or that have no effect."""
TAKEN = ("passed", "translated")
NAMED_ONLY = ("tool_choice[allowed_tools].allowed_tools[].tools", "tool_choice[allowed_tools].tools")
"""Tools that may be called: they are named there, and defined in `tools`."""

PLACES = [(engine, surface) for engine in ENGINES for surface in field_matrix.TITLES]


@pytest.mark.parametrize(("engine", "surface"), PLACES, ids=lambda word: str(word))
def test_no_field_is_ignored(engine: str, surface: str) -> None:
    seen = field_matrix.outcomes(engine, surface)
    ignored = [path for path, outcome in seen.items() if outcome == "ignored"]
    assert seen
    assert not ignored, "act on these, refuse them, or write down in no_effect.py why they need no action"


def test_the_page_shows_what_is_observed() -> None:
    assert field_matrix.page() == field_matrix.PAGE.read_text(encoding="utf-8"), "run `make fields`"


@pytest.mark.parametrize("surface", field_matrix.TITLES)
def test_a_request_with_a_field_differs_from_one_without(surface: str) -> None:
    fields = list(spec_fields.spec_fields(surface))
    assert all(field.request != field.without for field in fields)
    assert len(fields) > 3


def test_what_is_proved_elsewhere_has_a_test() -> None:
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "common" / "tests").rglob("test_*.py"))
    assert [name for name in PROVED_BY.values() if f"def {name}(" not in tests] == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_field_that_nobody_knows_is_refused(engine: str) -> None:
    observer = field_matrix.observer(engine)
    surfaces = [surface for surface in ("chat", "completions", "embeddings") if observer.has(surface)]
    assert surfaces
    for surface in surfaces:
        seen = observer.observe(surface, {**spec_fields.BASES[surface], "temprature": 0.5})
        assert (seen.status, seen.params) == (400, ["temprature"]), surface


@pytest.mark.parametrize(("engine", "surface"), PLACES, ids=lambda word: str(word))
def test_a_member_that_nobody_knows_is_refused_or_passed(engine: str, surface: str) -> None:
    seen = field_matrix.observer(engine)
    outcomes = field_matrix.outcomes(engine, surface)
    fields = [field for field in spec_fields.spec_fields(surface) if outcomes.get(field.path) in TAKEN]
    ignored = []
    for kind, (request, place) in objects(fields).items():
        plain, odd = (seen.observe(surface, body) for body in (request, with_unheard_of(request, place)))
        refused = odd.status == 400 and any(param.endswith("unheard_of") for param in odd.params)
        if not refused and (odd.status, odd.sent) == (plain.status, plain.sent):
            ignored.append(kind)
    assert not ignored


def objects(fields: list[spec_fields.SpecField]) -> dict[str, tuple[dict[str, Any], tuple[str | int, ...]]]:
    """Each kind of object inside of requests -> a request that has it, and where."""
    kinds: dict[str, tuple[dict[str, Any], tuple[str | int, ...]]] = {}
    for field in fields:
        for place, kind in inner_objects(field.request):
            if not kind.startswith(NAMED_ONLY):
                kinds.setdefault(kind, (field.request, place))
    return kinds


def inner_objects(
    value: Any, place: tuple[str | int, ...] = (), kind: str = ""
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each object inside of a value: where it is, and the same with kinds in place of numbers."""
    if isinstance(value, dict):
        if place:
            kind = f"{kind}[{value.get('type') or value.get('role') or ''}]"
            yield place, kind
        for name, inner in value.items():
            if name not in ANYTHING:
                yield from inner_objects(inner, (*place, name), f"{kind}.{name}" if kind else name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from inner_objects(inner, (*place, number), kind)


def with_unheard_of(request: Mapping[str, Any], place: tuple[str | int, ...]) -> dict[str, Any]:
    """The request with a member more in one of its objects."""
    changed = copy.deepcopy(dict(request))
    inner: Any = changed
    for step in place:
        inner = inner[step]
    inner["unheard_of"] = "x"
    return changed
