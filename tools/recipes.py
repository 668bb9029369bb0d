"""Runs docs/recipes.md: installs each client in a throw-away environment and runs its blocks against a real worker.

`make recipes`, or `python tools/recipes.py LangChain Codex` for some of them. It needs a package index, npm and Node.
A recipe passes where every block of it exits with 0 and a program prints what its last line says. Exit code 1 where
one fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests/support"))

from pages import section  # noqa: E402

from engineroom_workers.testing import serving  # noqa: E402

PAGE = ROOT / "docs/recipes.md"
TEMPLATE = ROOT / "engines/llamacpp/tests/data/chatml_with_tools.jinja"
CLIENTS = ("OpenAI's client", "Anthropic's client", "LangChain", "LiteLLM", "openai-agents", "Vercel AI SDK")
WITH_TOOLS = ("Codex", "Continue")
"""They always send tools, which the small model's own chat template has no place for."""
WITH_EMBEDDINGS = ("Retrieval with Qdrant",)

WORKERS: dict[tuple[str, ...], dict[str, str]] = {
    CLIENTS: {},
    WITH_EMBEDDINGS: {"EMBEDDINGS": "true", "POOLING": "mean"},
    WITH_TOOLS: {"CHAT_TEMPLATE_FILE": str(TEMPLATE)},
}
"""Recipes, and the settings of the worker that they want."""

SUFFIXES = {"python": ".py", "js": ".mjs"}
LIMIT_S = 300


class RecipeError(Exception):
    """A recipe does not do what the page says."""


def run(block: str, language: str, home: Path, python: Path) -> None:
    """Run one block, or write it where its first line says.

    Raises:
        RecipeError: it fails, or prints something else than its last line says.
    """
    if language in ("toml", "yaml"):
        file = home / block.splitlines()[0].removeprefix("# ~/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block)
        return
    command = ["bash", "-euc", block]
    if language in SUFFIXES:
        file = home / f"recipe{SUFFIXES[language]}"
        file.write_text(block)
        command = [str(python) if language == "python" else "node", str(file)]
    # Nothing of this machine's own settings: a recipe has to do with what it shows.
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "npm_config_", "SSL_"))}
    environ = {**kept, "HOME": str(home), "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=home, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S
    )
    if done.returncode != 0:
        raise RecipeError(done.stderr[-2000:] or done.stdout[-2000:])
    last = block.splitlines()[-1]
    if language in SUFFIXES and done.stdout != re.sub(r"^(#|//) ", "", last):
        raise RecipeError(f"it printed {done.stdout!r}")


def try_recipe(name: str, url: str, home: Path, python: Path) -> None:
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", section(PAGE, name), re.MULTILINE | re.DOTALL):
        run(block.replace("http://127.0.0.1:8000", url), language, home, python)


def main(wanted: list[str]) -> int:
    if missing := [program for program in ("node", "npm") if shutil.which(program) is None]:
        print(f"{', '.join(missing)} not installed: the recipes for JavaScript need them", file=sys.stderr)
        return 1
    failed = 0
    with tempfile.TemporaryDirectory(prefix="recipes-") as folder:
        home = Path(folder)
        venv.create(home / "venv", with_pip=True)
        python = home / "venv/bin/python"
        for names, settings in WORKERS.items():
            chosen = [name for name in names if not wanted or name in wanted]
            if not chosen:
                continue
            with serving({"ENGINE": "llamacpp", **settings}) as door:
                for name in chosen:
                    try:
                        try_recipe(name, door.url, home, python)
                        print(f"{name}: works")
                    except (RecipeError, subprocess.TimeoutExpired) as error:
                        failed += 1
                        print(f"{name}: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
