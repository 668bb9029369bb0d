"""The distributions as they are published: built, installed into an environment of their own, and used from it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

import httpx
import pytest
from http_door import free_port
from server_process import ServerProcess

from engineroom import __version__
from engineroom.hardware import Matrix

ROOT = Path(__file__).parents[1]
TOOL = [sys.executable, str(ROOT / "tools/packages.py")]
SOURCE = "https://repository.test/somebody/engineroom"
CORE, WORKERS, ENGINES = "engineroom", "engineroom-workers", 10

ASK = "import sys; from engineroom.installation import how_to_install; print(how_to_install(*sys.argv[1:]))"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    subprocess.run([*TOOL, "wheels", str(folder), "--source", SOURCE], check=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def environment(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheels of ours, and what they need out of this one: none of ours is seen from here."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "--quiet"]
    ours = ["--no-deps", "--no-index", "--find-links", str(wheels)]
    subprocess.run([*command, *ours, *sorted(metadata(wheels))], check=True, timeout=120)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "rest.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def metadata(wheels: Path) -> dict[str, Message]:
    """What each wheel says of itself, by its distribution's name."""
    described: dict[str, Message] = {}
    for path in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(path) as wheel:
            (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            message = Parser().parsestr(wheel.read(name).decode())
            described[message["Name"]] = message
            assert name.replace("METADATA", "licenses/LICENSE") in wheel.namelist()
            assert any(member.endswith("/py.typed") for member in wheel.namelist())
    return described


def test_an_index_would_show_what_they_are(wheels: Path) -> None:
    described = metadata(wheels)
    assert len(described) == 3 + ENGINES
    for name, message in described.items():
        assert message["Version"] == __version__
        assert message["License-Expression"] == "Apache-2.0"
        assert message["Requires-Python"] == ">=3.10"
        assert message["Summary"]
        assert {url.split(", ")[1].partition("/blob/")[0] for url in message.get_all("Project-URL", [])} >= {SOURCE}
        readme = str(message.get_payload())
        assert readme.startswith(f"# {name}\n")
        assert not re.search(r"\]\((?!https?://|#)", readme), "a link that leads nowhere on an index's page"


def test_no_two_versions_can_be_installed_together(wheels: Path) -> None:
    """Every distribution needs the core of its own version, and no other of ours is free of a version."""
    for name, message in metadata(wheels).items():
        needs = message.get_all("Requires-Dist", [])
        ours = [need for need in needs if need.startswith("engineroom") and "extra ==" not in need]
        without_extras = [re.sub(r"\[.*?\]", "", need) for need in ours]
        assert without_extras == ([] if name == CORE else [f"engineroom=={__version__}"])
        floating = [need for need in needs if "extra ==" not in need and not re.search(r"[=<>~]", need)]
        assert floating == []


def test_the_version_stands_in_one_place(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for name in ("common", "workers", "operations", "engines", "tools", "docker"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "tests", "compose"))
    tool = [sys.executable, str(copy / "tools/packages.py"), "version"]
    assert subprocess.run([*tool, __version__], check=True, capture_output=True, text=True).stdout == f"{__version__}\n"
    projects = [
        path.relative_to(ROOT) for folder in ("common", "workers", "operations", "engines/*") for path in paths(folder)
    ]
    assert len(projects) == 3 + ENGINES
    for project in projects:
        assert (copy / project).read_text() == (ROOT / project).read_text(), "`make version` has not written it"
    subprocess.run([*tool, "0.2.0rc1"], check=True, capture_output=True)
    for project in projects:
        assert '"0.2.0rc1"' in (copy / project).read_text()
        assert f'"{__version__}"' not in (copy / project).read_text()
    own = {row.name: row.version for row in Matrix.load(copy / "docker/matrix.json").rows if "0.2.0rc1" in row.version}
    assert own == {"echo-0.2.0rc1-cpu": "0.2.0rc1", "upstream-0.2.0rc1-cpu": "0.2.0rc1"}, "images whose engine is ours"
    refused = subprocess.run([*tool, "next"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "next is no version such as" in refused.stderr


def paths(folder: str) -> Iterator[Path]:
    yield from sorted(ROOT.glob(f"{folder}/pyproject.toml"))


def test_the_wheels_serve(environment: Path, tmp_path: Path) -> None:
    """Out of an environment that has the wheels and no clone: every engine loads, and one serves."""
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV", "ENGINE")}
    command = str(environment / "bin/engineroom")
    wide = {**environ, "COLUMNS": "200"}
    listed = subprocess.run([command, "engines"], cwd=tmp_path, env=wide, capture_output=True, text=True, timeout=60)
    assert listed.returncode == 0, listed.stderr
    assert "broken" not in listed.stdout
    code = "import engineroom, engineroom_echo; print(engineroom.__file__, engineroom_echo.__file__)"
    where = subprocess.run([str(environment / "bin/python"), "-c", code], env=environ, capture_output=True, text=True)
    assert all(path.startswith(str(environment)) for path in where.stdout.split()), where.stderr
    port = free_port()
    server = ServerProcess(
        [command, "serve"], tmp_path / "log", {**environ, "ENGINE": "echo", "PORT": str(port)}, tmp_path
    )
    try:
        server.until_listening(port)
        server.until(lambda: httpx.get(f"http://127.0.0.1:{port}/ping").status_code == 200)
        chat = {"messages": [{"role": "user", "content": "Hello, wheel"}]}
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=chat, timeout=60)
        assert "Hello, wheel" in answer.json()["choices"][0]["message"]["content"]
    finally:
        server.stop()


def ask(python: Path, folder: Path, *arguments: str, before: str = "", **environ: str) -> str:
    """What that Python says of how to install something. before: code that it runs first."""
    given = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command = [str(python), "-c", before + ASK, *arguments]
    done = subprocess.run(command, cwd=folder, env={**given, **environ}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def note_origin(environment: Path, **origin: object) -> Path:
    """The environment's Python, told by pip's own note (PEP 610) that the core came from there."""
    (info,) = environment.glob("lib/python*/site-packages/engineroom-*.dist-info")
    (info / "direct_url.json").write_text(json.dumps(origin))
    return environment / "bin/python"


@pytest.fixture
def installed(environment: Path) -> Iterator[Path]:
    """The environment, whose notes on where it came from are taken back at the end."""
    yield environment
    (info,) = environment.glob("lib/python*/site-packages/engineroom-*.dist-info")
    (info / "direct_url.json").unlink(missing_ok=True)
    (environment / "matrix.json").unlink(missing_ok=True)


def test_from_a_clone_ours_are_installed_from_the_clone(tmp_path: Path) -> None:
    """This environment is the one that `make` makes: no index is needed to have ours."""
    python = Path(sys.executable)
    pip = python.with_name("pip")
    engine = ROOT / "engines/vllm"
    assert ask(python, tmp_path, "engineroom-vllm[engine]") == f"`{pip} install -e '{engine}[engine]'`"
    assert ask(python, tmp_path, "engineroom-workers[limits]") == f"`{pip} install -e '{ROOT}/workers[limits]'`"
    assert ask(python, tmp_path, "xllamacpp") == f"`{pip} install xllamacpp`"
    assert "engineroom-nonesuch" in ask(python, tmp_path, "engineroom-nonesuch")
    short = ask(python, ROOT, "engineroom-vllm[engine]")
    assert short.endswith(" install -e 'engines/vllm[engine]'`"), "relative, where it is run in the clone"


def test_a_remedy_from_a_clone_works(tmp_path: Path) -> None:
    """The command is run, in an environment that has the core of a clone and nothing else."""
    clone, python = tmp_path / "a clone", tmp_path / "environment/bin/python"
    for name in ("common", "workers", "engines/echo"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "environment")], check=True)
    (site,) = (tmp_path / "environment").glob("lib/python*/site-packages")
    (site / "rest.pth").write_text(sysconfig.get_path("purelib"))
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "-e", str(clone / "common")], check=True, timeout=120)
    remedy = ask(python, tmp_path, "engineroom-echo", "--no-deps", "--no-build-isolation")
    assert remedy.startswith("`environment/bin/python -m pip install ")
    subprocess.run(["bash", "-c", remedy.strip("`")], cwd=tmp_path, check=True, timeout=120, capture_output=True)
    code = "import engineroom_echo; print(engineroom_echo.__file__)"
    where = subprocess.run([str(python), "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert where.stdout.strip() == str(clone / "engines/echo/engineroom_echo/__init__.py"), where.stderr


def test_from_an_index_the_index_has_ours(installed: Path, tmp_path: Path) -> None:
    python = installed / "bin/python"
    assert ask(python, tmp_path, "engineroom-echo") == f"`{python} -m pip install engineroom-echo`"
    assert ask(python, tmp_path, "engineroom-echo", before="import sys; sys.modules['pip'] = None\n") == (
        f"`uv pip install --python {python} engineroom-echo`"
    )
    (installed / "bin/pip").touch()
    assert ask(python, tmp_path, "engineroom-echo") == f"`{installed}/bin/pip install engineroom-echo`"
    active = ask(python, tmp_path, "engineroom-echo", VIRTUAL_ENV=str(installed))
    (installed / "bin/pip").unlink()
    assert active == "`pip install engineroom-echo`"


def test_beside_a_wheel_the_others_lie_where_it_lay(installed: Path, wheels: Path, tmp_path: Path) -> None:
    python = note_origin(installed, url=f"file://{wheels}/engineroom-{__version__}-py3-none-any.whl", archive_info={})
    assert f" install --find-links {wheels} engineroom-echo`" in ask(python, tmp_path, "engineroom-echo")


def test_from_a_repository_ours_come_from_the_same_commit(installed: Path, tmp_path: Path) -> None:
    vcs = {"vcs": "git", "commit_id": "0123abc"}
    python = note_origin(installed, url=f"{SOURCE}.git", vcs_info=vcs, subdirectory="common")
    wanted = f"'engineroom-vllm[engine] @ git+{SOURCE}.git@0123abc#subdirectory=engines/vllm'"
    assert wanted in ask(python, tmp_path, "engineroom-vllm[engine]")


def test_in_an_image_nothing_is_installed_into_a_container(installed: Path, tmp_path: Path) -> None:
    (installed / "matrix.json").write_text("{}")
    python = installed / "bin/python"
    assert ask(python, tmp_path, "engineroom-vllm[engine]").endswith("build it from a clone: `make image ENGINE=vllm`")
    dockerfile = f"in a Dockerfile over this image: `RUN python3 -m pip --python {python} install redis`"
    assert ask(python, tmp_path, "redis") == dockerfile
