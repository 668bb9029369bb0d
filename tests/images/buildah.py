"""buildah in a store of its own: builds, containers, and commands in them, everything removed at the end."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from programs import trouble

ENVIRON = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
BUILD_S = 600


def why_not() -> str | None:
    """Why no image can be built here; None where nothing speaks against it but that buildah has not tried."""
    if os.getuid() != 0:
        return "building images here needs root"
    return trouble("buildah", "--version") or trouble("debootstrap", "--version")


class Container:
    """A container made from an image. Its network is the machine's."""

    def __init__(self, buildah: Buildah, name: str, config: Mapping[str, Any]) -> None:
        self._buildah = buildah
        self.name = name
        self.volumes: list[str] = []
        self.entry = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
        self.healthcheck: list[str] = (config.get("Healthcheck") or {}).get("Test", [])[1:]

    def command(self, command: Sequence[str], environ: Mapping[str, str]) -> list[str]:
        """The command line that runs `command` in it."""
        options = [part for name, value in environ.items() for part in ("--env", f"{name}={value}")]
        options += [part for volume in self.volumes for part in ("--volume", volume)]
        return self._buildah.command("run", *options, self.name, "--", *command)

    def run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(command, environ), env=ENVIRON, capture_output=True, text=True, timeout=60, check=False
        )


class Buildah:
    """Layers lie over each other where the kernel can do that, and each is a whole copy where it cannot.

    Args:
        store: a folder for images, which may be there already.
    """

    def __init__(self, store: Path) -> None:
        store.mkdir(parents=True, exist_ok=True)
        self._store = store
        self._driver = "overlay"
        done = subprocess.run(self.command("info"), env=ENVIRON, capture_output=True, check=False)
        if done.returncode:
            self._driver = "vfs"

    def command(self, *arguments: str) -> list[str]:
        store = self._store / self._driver
        roots = ["--root", str(store / "root"), "--runroot", str(store / "run")]
        return ["buildah", "--storage-driver", self._driver, *roots, *arguments]

    def __call__(self, *arguments: str, cwd: Path | None = None) -> str:
        """Run buildah; what it printed. Fails with all that it said."""
        done = subprocess.run(
            self.command(*arguments), env=ENVIRON, capture_output=True, text=True, timeout=BUILD_S, check=False, cwd=cwd
        )
        assert done.returncode == 0, f"buildah {arguments[0]} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout + done.stderr

    def has(self, image: str) -> bool:
        done = subprocess.run(self.command("images", "-q", image), env=ENVIRON, capture_output=True, check=False)
        return done.returncode == 0 and bool(done.stdout.strip())

    def inspect(self, image: str) -> dict[str, Any]:
        """All that the image's own description holds: configuration, labels, history."""
        description: dict[str, Any] = json.loads(self("inspect", "--type", "image", image))
        return description

    def why_not(self, image: str) -> str | None:
        """Why nothing runs in containers of this image, for which the machine may not let buildah mount or chroot."""
        name = subprocess.run(self.command("from", image), env=ENVIRON, capture_output=True, text=True, check=False)
        if name.returncode:
            return f"buildah is here and makes no container: {name.stderr.strip()[-300:]}"
        command = self.command("run", name.stdout.strip(), "--", "true")
        ran = subprocess.run(command, env=ENVIRON, capture_output=True, text=True, check=False)
        self("rm", name.stdout.strip())
        return f"buildah is here and runs nothing: {ran.stderr.strip()[-300:]}" if ran.returncode else None

    @contextlib.contextmanager
    def container(self, image: str) -> Iterator[Container]:
        name = self("from", image).strip()
        try:
            yield Container(self, name, self.inspect(image)["Docker"]["config"])
        finally:
            self("rm", name)
