"""docs/engines.md can be followed: its examples are installed elsewhere, and pass what it says that engines pass."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from engineroom import plugins
from engineroom.engine import Capabilities
from engineroom_workers.testing import serving

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "engines.md"
EXAMPLES = ROOT / "docs" / "examples"
ENGINEROOM = str(Path(sys.executable).with_name("engineroom"))
BLOCK = re.compile(r"^```(?:python|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"<!-- capabilities:begin -->\n(.*)<!-- capabilities:end -->", re.DOTALL)


@dataclass(frozen=True)
class Installed:
    """An example that was taken out of the repository, and installed.

    folder: where its files lie. environ: in which its engine is found.
    """

    name: str
    folder: Path
    environ: dict[str, str]

    def run(self, *command: str, seconds: int = 250) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=seconds
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module", params=["parrot", "narrator"])
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("elsewhere") / request.param
    shutil.copytree(EXAMPLES / request.param, folder, ignore=shutil.ignore_patterns("__pycache__"))
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(site), str(folder)], check=True, timeout=120)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ours = {"PYTHONPATH": str(site), "PATH": path, "COLUMNS": "200"}
    return Installed(request.param, folder, {**os.environ, **ours})


def test_it_is_listed_with_what_it_can_do(example: Installed) -> None:
    listed = example.run(ENGINEROOM, "engines")
    (line,) = (line for line in listed.splitlines() if line.startswith(f"{example.name} "))
    assert "chat, completions, responses, messages, several choices" in line
    assert "✓" in line


@pytest.mark.timeout(300)
def test_it_passes_both_suites_without_any_configuration(example: Installed) -> None:
    pytest_itself = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(example.folder)]
    # Schemathesis is of this repository's tests, and takes longest to import of all plugins.
    output = example.run(*pytest_itself, "-p", "no:cacheprovider", "-p", "no:schemathesis")
    match = re.search(r"(\d+) passed", output)
    assert match is not None, output
    assert int(match[1]) >= 30, output


def test_it_chats_through_a_door(example: Installed) -> None:
    ours = {"ENGINE": example.name, "PYTHONPATH": example.environ["PYTHONPATH"]}
    body = {"messages": [{"role": "user", "content": "Once more, please."}], "max_tokens": 40}
    with serving(ours) as door:
        chat = httpx.post(f"{door.url}/v1/chat/completions", json=body, timeout=60).json()
        refused = httpx.post(f"{door.url}/v1/chat/completions", json={**body, "logprobs": True}, timeout=60)
        only = ("--only", "several_choices", "--only", "logprobs_are_given")
        checked = example.run(ENGINEROOM, "check", door.url, *only)
    expected = {"parrot": "Once more, please.", "narrator": "Once upon a time"}
    assert chat["choices"][0]["message"]["content"].startswith(expected[example.name])
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "logprobs")
    assert "not checked: logprobs (refused with a 400)" in checked
    assert "1 kept, 0 broken, 1 not checked" in checked


def test_its_settings_are_known(example: Installed) -> None:
    shown = example.run("env", f"ENGINE={example.name}", ENGINEROOM, "config", "--all")
    assert f"{example.name.upper()}_" in shown


def plain(text: str) -> str:
    """The lines of a text without their indentation, and without empty ones."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


@pytest.mark.parametrize("block", BLOCK.findall(PAGE.read_text(encoding="utf-8")), ids=lambda block: block[:30].strip())
def test_what_the_page_shows_is_in_an_example(block: str) -> None:
    files = [file for kind in ("*.py", "*.toml") for file in EXAMPLES.rglob(kind)]
    assert any(plain(block) in plain(file.read_text(encoding="utf-8")) for file in files)


def row(name: str, capabilities: Capabilities) -> str:
    if capabilities.assumed:
        return f"| `{name}` | what its server has | | | | | |"
    parts = ", ".join(kind for kind in ("images", "audio", "video", "files") if getattr(capabilities, kind))
    surfaces = ", ".join(word for word in capabilities.words() if word in capabilities.served_surfaces)
    tools = {"none": "no", "optional": "auto only", "forced": "yes"}[capabilities.tools]
    flags = (capabilities.logprobs, capabilities.several_choices, capabilities.json_schema)
    cells = [f"`{name}`", surfaces, tools, *("yes" if flag else "no" for flag in flags), parts or "text"]
    return f"| {' | '.join(cells)} |"


def test_the_page_s_table_is_what_the_engines_declare() -> None:
    names = sorted(folder.name for folder in ROOT.glob("engines/*"))
    rows = [row(name, plugins.load_engine(name).capabilities) for name in names]
    match = TABLE.search(PAGE.read_text(encoding="utf-8"))
    assert match is not None
    assert match[1].splitlines()[2:] == rows, "put these rows into docs/engines.md:\n" + "\n".join(rows)


def test_every_engine_declares_the_surfaces_that_it_can_serve() -> None:
    for folder in ROOT.glob("engines/*"):
        assert plugins.load_engine(folder.name).capabilities.surfaces, f"{folder.name} declares no surface"
