"""README.md and docs/ can be followed: links lead somewhere, settings are known, commands print what they show."""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_door import Door, serving
from pages import PAGES, ROOT, anchors, blocks, name_of, text_of
from programs import need

BIN = Path(sys.executable).parent


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/engines.md"])
def test_what_authors_are_told_of_is_there(page: str) -> None:
    """Every dotted name can be imported, every path leads to something."""
    text = (ROOT / page).read_text(encoding="utf-8")
    missing = []
    for name in re.findall(r"`(engineroom(?:_\w+)?(?:\.\w+)+)`", text):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            missing.append(name)
    paths = re.findall(r"`((?:common|workers|engines|docs|tests|tools|docker|benchmarks)/[\w./]+)`", text)
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert len(paths) >= 2
    assert not missing


@pytest.mark.parametrize("block", blocks(ROOT / "docs/migrating.md", "dotenv"), ids=lambda block: block.split()[0])
def test_the_settings_of_other_workers_are_known(block: str, tmp_path: Path) -> None:
    # The page's model is on its reader's machine; the engines look at what a path names.
    local = re.search(r"MODEL_NAME=/models/(\S+)", block)
    if local:
        (tmp_path / local[1]).write_bytes(b"GGUF")
        block = block.replace("/models/", "./")
    (tmp_path / ".env").write_text(block)
    inherited = {name: value for name, value in os.environ.items() if name not in ("ENGINE", "MODEL_NAME")}
    given = {**inherited, "FASTDEPLOY_VERSION": "2.5.0", "FASTDEPLOY_CHECKS": "false"}
    done = subprocess.run(
        [str(BIN / "engineroom"), "config"], cwd=tmp_path, env=given, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    output = done.stdout + done.stderr
    values = [line.partition("=")[2] for line in block.splitlines()]
    assert len(re.findall(r" \.env\b", done.stdout)) == len(values), output


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving({"ENGINE": "llamacpp", "THREADS": "1"}) as door:
        yield door


@pytest.mark.parametrize("block", blocks(ROOT / "README.md", "console"), ids=lambda block: block.split()[1])
def test_what_the_readme_shows_is_what_is_printed(block: str, door: Door, tmp_path: Path) -> None:
    if "curl" in block:
        need("curl", "--version")
    command, output = [], []
    for line in block.splitlines():
        (command if line.startswith("$ ") or (command and command[-1].endswith("\\")) else output).append(line)
    script = "\n".join(command).removeprefix("$ ").replace("http://127.0.0.1:8000", door.url)
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == output


ODD = re.compile(
    r"\bis no (file|GGUF|valid)|which is meant|are said|is said at once|in silence|without a word|left alone"
    r"|is not there at all|holds nobody|asked (anew|once more of)|it is told|whatever else comes"
)
"""Phrases that no reader would write; they were in these pages once."""


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_are_in_plain_english(page: Path) -> None:
    assert ODD.findall(text_of(page).replace("\n", " ")) == []
