"""The pages of this repository, their blocks of code and their anchors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(
    file
    for folder in (".", "docs", "common", "workers", "operations", "engines/*", "docs/examples/*")
    for file in ROOT.glob(f"{folder}/*.md")
)

SHELL = ("sh", "bash", "console", "")
"""The languages of what a reader pastes into a terminal; a block without a language may be one."""

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> list[str]:
    """A page's blocks of code in any of these languages, in their order."""
    return [text for language, text in _BLOCK.findall(text_of(page)) if language in languages]


def section(page: Path, heading: str) -> str:
    """What stands under a heading, up to the next of its rank or above.

    Raises:
        ValueError: the page has no such heading.
    """
    rank = 0
    code = False
    taken: list[str] = []
    for line in text_of(page).splitlines(keepends=True):
        code ^= line.startswith("```")
        title = None if code else re.match(r"(#+) (.+)", line)
        if title and rank and len(title[1]) <= rank:
            break
        if title and title[2] == heading:
            rank = len(title[1])
        elif rank:
            taken.append(line)
    if not rank:
        raise ValueError(f"{name_of(page)} has no heading {heading!r}")
    return "".join(taken)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _BLOCK.sub("", text_of(page))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(block: str) -> Iterator[str]:
    """The commands of a block: prompts, comments and, in a block with prompts, outputs left out."""
    lines = block.replace("\\\n", "").splitlines()
    prompted = any(line.startswith("$ ") for line in lines)
    for line in lines:
        if prompted and not line.startswith("$ "):
            continue
        command = re.sub(r"(^|\s)#\s.*$", "", line.removeprefix("$ ")).strip()
        if command:
            yield command
