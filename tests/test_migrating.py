"""The last part of docs/migrating.md: an answer to every section of the documents that this project grew out of."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

import pytest
from pages import ROOT, section

PAGE = ROOT / "docs/migrating.md"
SECTIONS: dict[str, list[str]] = json.loads((ROOT / "tests/data/sections_of_documents.json").read_text("utf-8"))
"""The headings of each document, in its order."""

LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


class Promise(NamedTuple):
    """A row of the table. sections: the headings that it is about."""

    document: str
    sections: tuple[str, ...]
    promise: str
    answer: str
    tried_by: str


def promises() -> list[Promise]:
    rows = []
    for document in SECTIONS:
        text = section(PAGE, document)
        for line in re.findall(r"^\| (.+) \|$", text, re.MULTILINE)[1:]:
            first, promise, answer, tried_by = re.split(r" *\| *", line)
            rows.append(Promise(document, tuple(first.split("; ")), promise, answer, tried_by))
    return rows


ROWS = promises()


@pytest.mark.parametrize("document", SECTIONS)
def test_every_section_has_an_answer(document: str) -> None:
    answered = [name for row in ROWS if row.document == document for name in row.sections]
    assert [name for name in SECTIONS[document] if name not in answered] == []
    assert len(answered) == len(set(answered)), "a section is answered twice"


def test_no_row_is_without_an_answer() -> None:
    assert len(ROWS) > 80
    for row in ROWS:
        assert row.tried_by, row
        if "nothing is promised" not in row.tried_by:
            assert row.promise, row
            assert row.answer, row


def test_what_is_tried_by_a_test_is_tried_by_one_that_exists() -> None:
    tried = 0
    for row in ROWS:
        for name, target in LINK.findall(row.tried_by):
            if not name.startswith("test_"):
                continue
            file = (PAGE.parent / target).resolve()
            assert re.search(rf"def {name}\(", file.read_text("utf-8")), f"{target} has no {name}"
            tried += 1
    assert tried > 80
