"""What a release is refused for, and the words that it has: `tools/release.py`, as the workflow runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHANGELOG = """# Changelog

## 0.3.0 - 2027-01-02

* New.

## 0.2.0 - unreleased

* Old.
"""


class Release:
    """A copy of what releases are checked by. Its version is 0.3.0, and its images are called me/rooms."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for name in ("docker", "tools"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "compose"))
        (root / "common/engineroom").mkdir(parents=True)
        (root / "common/engineroom/__init__.py").write_text('__version__ = "0.3.0"\n')
        (root / "CHANGELOG.md").write_text(CHANGELOG)
        matrix = root / "docker/matrix.json"
        content = json.loads(matrix.read_text())
        content["variable"]["IMAGE_REPOSITORY"]["default"] = "me/rooms"
        matrix.write_text(json.dumps(content))

    def __call__(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(self._root / "tools/release.py"), *arguments],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return Release(tmp_path_factory.mktemp("release"))


def test_a_release_that_agrees_with_itself_is_announced_with_the_changelog_s_words(release: Release) -> None:
    done = release("check", "0.3.0", "--owner", "ghcr.io/Somebody")
    assert (done.returncode, done.stderr) == (0, "")
    assert release("notes", "0.3.0").stdout == "* New.\n"


def test_all_that_is_wrong_is_named_with_its_remedy(release: Release) -> None:
    done = release("check", "0.2.0", IMAGE_REPOSITORY="ghcr.io/me/others")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: the version is 0.3.0: `make version VERSION=0.2.0`, or tag 0.3.0",
        "error: CHANGELOG.md has no date for 0.2.0: write the day behind its heading, as YYYY-MM-DD",
        "error: images are pushed to ghcr.io/me/others, but worker-config.json and the pages call them me/rooms: write "
        "ghcr.io/me/others into docker/matrix.json (IMAGE_REPOSITORY), then `make hub`",
    ]
    assert release("notes", "0.4.0").stderr == "error: CHANGELOG.md has nothing on 0.4.0\n"
