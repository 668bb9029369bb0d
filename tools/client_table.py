"""Writes the tables of docs/clients.md from the results of tests/clients: `client_table.py RESULTS.xml…`.

`make clients` runs the tests and this. The files are pytest's reports (`--junitxml`); where two of them have the same
cell the later one counts. Exit code 1 where a cell failed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

PAGE = Path(__file__).parents[1] / "docs" / "clients.md"
BEGIN = "<!-- generated: the tables. `make clients` writes them -->"
NOT_OFFERED = "not offered: "
ORDER = ("echo", "echo+heartbeats", "llamacpp", "openvino", "transformers", "vllm", "max")
SURFACES = ("chat", "Responses", "Messages")


@dataclass
class ClientResults:
    """What the tests gave.

    cells: (client, surface, case, engine) -> `passed`, `failed: …` or `not offered: …`.
    versions: client -> its release.
    comply: (API, engine) -> how many of llm-comply's checks passed, and why others did not.
    standard: class of LangChain's standard tests -> how many passed, were skipped and failed.
    """

    cells: dict[tuple[str, str, str, str], str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    comply: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    standard: dict[str, list[int]] = field(default_factory=dict)

    def read(self, path: Path) -> None:
        """Add those of one report."""
        fresh: dict[tuple[str, str, str, str], str] = {}
        standard: dict[str, list[int]] = {}
        for test in ElementTree.parse(path).iter("testcase"):
            outcome = _outcome(test)
            name = test.get("classname", "")
            if "test_standard" in name:
                count = standard.setdefault(name.rpartition(".")[2], [0, 0, 0])
                count[{"passed": 0, "skipped": 1}.get(outcome.partition(":")[0], 2)] += 1
            for each in test.iter("property"):
                parts = each.get("value", "").split("|")
                if each.get("name") == "version":
                    self.versions[parts[0]] = parts[1]
                elif each.get("name") == "comply":
                    self.comply[parts[0], parts[1]] = (parts[2], parts[3])
                elif each.get("name") == "cell" and not outcome.startswith("skipped"):
                    client, surface, case, engine = parts
                    key = (client, surface, case.removeprefix(f"{surface.lower()} "), engine)
                    # One that failed in one of its variants (whole, streamed) failed.
                    fresh[key] = max(fresh.get(key, "passed"), outcome, key=_gravity)
        self.cells |= fresh
        self.standard |= standard


def _gravity(outcome: str) -> int:
    return ("passed", "not offered", "failed").index(outcome.partition(":")[0])


def _outcome(test: ElementTree.Element) -> str:
    for kind in ("failure", "error"):
        bad = test.find(kind)
        if bad is not None:
            return f"failed: {' '.join(bad.get('message', '').split())[:200]}"
    skipped = test.find("skipped")
    if skipped is None:
        return "passed"
    message = skipped.get("message", "").removeprefix("Skipped: ")
    return message if message.startswith(NOT_OFFERED) else f"skipped: {message}"


def table(results: ClientResults) -> Iterator[str]:
    """The lines of the table of clients and engines, and a note for each cell in which something did not pass."""
    engines = [name for name in ORDER if any(cell[3] == name for cell in results.cells)]
    places = dict.fromkeys((client, surface) for client, surface, *_ in results.cells)
    notes: list[str] = []
    yield f"| client | API | cases | {' | '.join(engines)} |"
    yield "|---|---|---|" + "---|" * len(engines)
    for client, surface in sorted(places, key=lambda place: (place[0].lower(), SURFACES.index(place[1]))):
        row = {cell: got for cell, got in results.cells.items() if cell[:2] == (client, surface)}
        cases = list(dict.fromkeys(cell[2] for cell in row))
        shown = []
        for engine in engines:
            got = {case: row.get((client, surface, case, engine), "not run") for case in cases}
            if set(got.values()) == {"not run"}:
                shown.append("not run")
                continue
            others = {case: outcome for case, outcome in got.items() if outcome != "passed"}
            marks = []
            for case, outcome in others.items():
                note = f"{case}: {outcome}"
                if note not in notes:
                    notes.append(note)
                marks.append(f"{case} {outcome.partition(':')[0]} ({notes.index(note) + 1})")
            shown.append(", ".join(marks) or "passed")
        name = f"{client} {results.versions.get(client, '')}".strip()
        yield f"| {name} | {surface} | {', '.join(cases)} | {' | '.join(shown)} |"
    yield ""
    outcomes = [outcome.partition(":")[0] for outcome in results.cells.values()]
    counts = [f"{outcomes.count(each)} {each}" for each in ("passed", "not offered", "failed")]
    yield f"{len(outcomes)} cells, a case with an engine each: {', '.join(counts)}."
    if notes:
        yield ""
        yield from (f"{number}. {re.sub('[|]', '/', note)}" for number, note in enumerate(notes, 1))


def standard_table(results: ClientResults) -> Iterator[str]:
    yield "| API | client | passed | skipped | failed |"
    yield "|---|---|---|---|---|"
    names = {"TestChat": "langchain-openai", "TestResponses": "langchain-openai", "TestMessages": "langchain-anthropic"}
    for name, client in names.items():
        if name in results.standard:
            counts = " | ".join(str(count) for count in results.standard[name])
            yield f"| {name.removeprefix('Test').replace('Chat', 'chat')} | {client} | {counts} |"


def comply_table(results: ClientResults) -> Iterator[str]:
    yield "| API | engine | checks passed | the others |"
    yield "|---|---|---|---|"
    for (surface, engine), (passed, reasons) in results.comply.items():
        yield f"| {surface} | {engine} | {passed} | {reasons or 'none'} |"


def page(paths: Iterable[Path]) -> tuple[str, ClientResults]:
    """The whole page, and what it was made of."""
    results = ClientResults()
    for path in paths:
        results.read(path)
    parts = ["", "## Each client with each engine", "", *table(results)]
    parts += ["", "## LangChain's standard tests", ""]
    parts += [
        "LangChain's own suite for integrations (langchain-tests), over echo. It skips PDFs, sound and recordings.",
        "",
    ]
    parts += standard_table(results)
    parts += ["", "## llm-comply", ""]
    parts += ["[llm-comply](https://pypi.org/project/llm-comply/) holds answers against the APIs' specifications.", ""]
    parts += comply_table(results)
    words = PAGE.read_text(encoding="utf-8").partition(BEGIN)[0]
    return "\n".join([words + BEGIN, *parts]) + "\n", results


def main(paths: list[str]) -> int:
    made, results = page(map(Path, paths))
    PAGE.write_text(made, encoding="utf-8")
    failed = ["|".join(cell) for cell, outcome in results.cells.items() if outcome.startswith("failed")]
    print(f"docs/clients.md: {len(results.cells)} cells, {len(failed)} failed", *failed, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
