"""Every field of every request is passed, translated, refused, or without effect for a written reason."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import field_matrix
import pytest
import spec_fields
from field_reasons import PROVED_BY
from observed_fields import ENGINES, FieldObserver

ROOT = Path(__file__).parents[1]
PLACES = [(engine, surface) for engine in ENGINES for surface in field_matrix.TITLES]


@cache
def observer(engine: str) -> FieldObserver:
    return FieldObserver(engine)


@pytest.mark.parametrize(("engine", "surface"), PLACES, ids=lambda word: str(word))
def test_no_field_is_ignored(engine: str, surface: str) -> None:
    seen = field_matrix.outcomes(observer(engine), surface)
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


def unknown_fields() -> Iterator[tuple[str, str]]:
    for engine in ENGINES:
        yield from ((engine, surface) for surface in ("chat", "completions"))


@pytest.mark.parametrize(("engine", "surface"), list(unknown_fields()))
def test_a_field_that_nobody_knows_is_refused(engine: str, surface: str) -> None:
    seen = observer(engine).observe(surface, {**spec_fields.BASES[surface], "temprature": 0.5})
    assert (seen.status, seen.params) == (400, ["temprature"])
