"""The registry, with real distributions installed into a folder of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engineroom import __version__

GOOD = "from engineroom_echo import EchoEngine\nclass Mine(EchoEngine):\n    name = 'mine'\n"


def install(folder: Path, package: str, engine: str, source: str, needs: str = "engineroom>=0.1") -> None:
    """Lay out a distribution as pip would. needs: what it requires."""
    module = package.replace("-", "_")
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\nRequires-Dist: {needs}\n")
    (info / "entry_points.txt").write_text(f"[engineroom.engines]\n{engine} = {module}:Mine\n")


def load(folder: Path, name: str | None, only: str = "") -> subprocess.CompletedProcess[str]:
    code = (
        "import sys\nfrom engineroom import plugins\nfrom engineroom.errors import PluginError\n"
        f"only = tuple({only!r}.split(',')) if {only!r} else ()\n"
        f"try:\n    print(plugins.load_engine({name!r}, only).__name__)\n"
        "except PluginError as error:\n    sys.exit(str(error))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)


def test_an_installed_engine_is_found(tmp_path: Path) -> None:
    install(tmp_path, "engineroom-mine", "mine", GOOD)
    assert load(tmp_path, "mine").stdout == "Mine\n"


def test_the_only_engine_needs_no_name(tmp_path: Path) -> None:
    install(tmp_path, "engineroom-mine", "mine", GOOD)
    assert load(tmp_path, None, only="mine").stdout == "Mine\n"
    assert "set ENGINE to one of" in load(tmp_path, None).stderr


def test_two_packages_with_one_name_conflict(tmp_path: Path) -> None:
    install(tmp_path, "engineroom-mine", "mine", GOOD)
    install(tmp_path, "engineroom-other", "mine", GOOD)
    error = load(tmp_path, "mine").stderr
    assert "engineroom-mine" in error
    assert "engineroom-other" in error
    assert "uninstall one" in error


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_library\n", "needs the module 'no_such_library'"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("Mine = 3\n", "is not an engineroom Engine"),
    ],
)
def test_a_broken_plugin_is_named(tmp_path: Path, source: str, message: str) -> None:
    install(tmp_path, "engineroom-mine", "mine", source)
    stderr = load(tmp_path, "mine").stderr
    assert message in stderr
    assert "mine" in stderr
    assert "Traceback" not in stderr


def test_a_missing_plugin_says_what_to_do(tmp_path: Path) -> None:
    assert "set it to one of these, or install the package that has it" in load(tmp_path, "nonesuch").stderr
    assert "did you mean echo?" in load(tmp_path, "ehco").stderr


def test_a_broken_plugin_does_not_disturb_another(tmp_path: Path) -> None:
    install(tmp_path, "engineroom-broken", "broken", "1 / 0\n")
    install(tmp_path, "engineroom-mine", "mine", GOOD)
    assert load(tmp_path, "mine").stdout == "Mine\n"


def test_only_what_is_allowed_loads(tmp_path: Path) -> None:
    install(tmp_path, "engineroom-mine", "mine", GOOD)
    assert "ENGINEROOM_ENGINES allows only echo" in load(tmp_path, "mine", only="echo").stderr


def test_an_engine_of_another_version_is_not_mixed_in_silently(tmp_path: Path) -> None:
    install(tmp_path, "engineroom-mine", "mine", GOOD, needs="engineroom==9.9")
    stderr = load(tmp_path, "mine").stderr
    assert f"engineroom-mine 1.0 is for engineroom 9.9, and {__version__} is installed; to install the one" in stderr
    assert "pip install --force-reinstall engineroom-mine`" in stderr
    install(tmp_path, "engineroom-other", "other", GOOD.replace("mine", "other"), needs=f"engineroom=={__version__}")
    assert load(tmp_path, "other").stdout == "Mine\n"
