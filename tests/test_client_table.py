"""The tables of docs/clients.md are made of what the tests of clients gave, the bad with the good."""

from __future__ import annotations

import re
from pathlib import Path

import client_table

FOLDER = Path(__file__).parent / "clients" / "table"

REPORT = """<testsuites><testsuite>{tests}</testsuite></testsuites>"""
TEST = """<testcase classname="{classname}" name="test"><properties>{properties}</properties>{outcome}</testcase>"""


def reported(cell: str, outcome: str = "") -> str:
    properties = f'<property name="cell" value="{cell}"/><property name="version" value="a client|1.0"/>'
    return TEST.format(classname="tests.clients.table.test_a", properties=properties, outcome=outcome)


def test_what_did_not_pass_is_in_the_table(tmp_path: Path) -> None:
    tests = [
        reported("a client|chat|whole|echo"),
        reported("a client|chat|tools|echo"),
        reported("a client|chat|tools|echo", '<failure message="no call | at all"/>'),
        reported("a client|chat|whole|vllm", '<skipped message="not offered: no such thing"/>'),
        reported("a client|chat|tools|vllm", '<skipped message="vllm is not installed here"/>'),
    ]
    (tmp_path / "report.xml").write_text(REPORT.format(tests="".join(tests)))
    results = client_table.ClientResults()
    results.read(tmp_path / "report.xml")
    lines = list(client_table.table(results))
    assert lines[0] == "| client | API | cases | echo | vllm |"
    row = "| a client 1.0 | chat | whole, tools | tools failed (1) | whole not offered (2), tools not run (3) |"
    assert lines[2] == row
    assert "1. tools: failed: no call / at all" in lines
    assert "3 cells, a case with an engine each: 1 passed, 1 not offered, 1 failed." in lines


def test_every_client_that_has_a_test_is_on_the_page() -> None:
    page = client_table.PAGE.read_text(encoding="utf-8")
    modules = [file.read_text(encoding="utf-8") for file in FOLDER.glob("test_*.py")]
    named = {name for text in modules for name in re.findall(r'^CLIENT, \w+(?:, \w+)? = "([^"]+)"', text, re.MULTILINE)}
    named |= {"AI SDK", "anthropic (Node)", "openai (Node)", "langchain-anthropic", "langchain-openai"}
    assert len(named) >= 11
    assert [name for name in sorted(named) if f"| {name} " not in page] == []
