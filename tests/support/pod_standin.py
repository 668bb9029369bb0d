"""A container of a pod as its specification wants it, without a cluster: a process in a mount namespace whose disk is
read-only but for the pod's volumes, as the pod's user, without capabilities. Its image is this machine.
"""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from source_tree import ROOT

_BIN = Path(sys.executable).parent
_PROGRAMS = (ROOT, Path(sys.base_prefix))
_SCRIPT = """
set -eu
umask 022
mount --make-rprivate /
mount -t tmpfs pod "$POD_ROOT"
chmod 755 "$POD_ROOT"
for each in /*; do
    if [ -L "$each" ]; then cp -P "$each" "$POD_ROOT/"
    elif [ "$each" = /etc ]; then
        mkdir "$POD_ROOT/etc"
        cp -a /etc/passwd /etc/group /etc/hosts /etc/ld.so.cache "$POD_ROOT/etc/"
    elif [ -d "$each" ]; then
        mkdir "$POD_ROOT$each"
        # What only root may enter is none of the pod's business.
        case "$each $(stat -c %a "$each")" in
            "/tmp "*|*[0246]) ;;
            *) mount --rbind "$each" "$POD_ROOT$each" ;;
        esac
    fi
done
{volumes}
# The programs, wherever that has hidden them.
for each in {programs}; do
    mkdir -p "$POD_ROOT$each"
    mount --bind "$each" "$POD_ROOT$each"
    mount -o remount,bind,ro "$POD_ROOT$each"
done
for each in "$POD_ROOT"/* "$POD_ROOT"; do
    if mountpoint -q "$each"; then mount -o remount,bind,ro "$each"; fi
done
{writable}
exec chroot "$POD_ROOT" setpriv --reuid {user} --regid {group} --groups {group} --no-new-privs --bounding-set=-all \\
    --inh-caps=-all -- env -i {environment} {command}
"""


@functools.cache
def _trouble() -> str:
    """Why a pod cannot be made here; empty where it can."""
    if os.geteuid() != 0:
        return "not root: no mount namespace for a pod"
    done = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True, check=False)
    if done.returncode:
        return "no mount namespace can be made here"
    closed = [
        str(parent) for each in _PROGRAMS for parent in [each, *each.parents][:-2] if not parent.stat().st_mode & 1
    ]
    return f"only root may enter {closed[0]}, where the programs are" if closed else ""


def start(
    pod: Mapping[str, Any], container: Mapping[str, Any], folder: Path, environ: Mapping[str, str]
) -> subprocess.Popen[str]:
    """A container's process; its output is in `process.stdout`.

    Args:
        pod: the pod's specification.
        folder: where its volumes are, each in a folder of its name; those that are missing are made.
        environ: what the image sets, and what is to differ.
    """
    if reason := _trouble():
        pytest.skip(reason)
    security = pod["securityContext"]
    volumes, writable = [], []
    for mount in container["volumeMounts"]:
        path = mount["mountPath"]
        place = folder / mount["name"]
        if not place.exists():
            place.mkdir()
            os.chown(place, security["runAsUser"], security["fsGroup"])
        volumes.append(f'mkdir -p "$POD_ROOT{path}"; mount --bind {shlex.quote(str(place))} "$POD_ROOT{path}"')
        if not mount.get("readOnly"):
            writable.append(f'mount -o remount,bind,rw "$POD_ROOT{path}"')
    variables = {each["name"]: each.get("value", "") for each in container["env"]} | dict(environ)
    root = folder / "root"
    root.mkdir(exist_ok=True)
    arguments = [each.replace("$(MODEL_NAME)", variables.get("MODEL_NAME", "")) for each in container["args"]]
    script = _SCRIPT.format(
        volumes="\n".join(volumes),
        writable="\n".join(writable),
        programs=shlex.join(map(str, _PROGRAMS)),
        user=security["runAsUser"],
        group=security["runAsGroup"],
        environment=" ".join(shlex.quote(f"{name}={value}") for name, value in variables.items()),
        command=shlex.join([str(_BIN / "engineroom"), *arguments]),
    )
    return subprocess.Popen(
        ["unshare", "--mount", "bash", "-c", script],
        env={"PATH": os.environ["PATH"], "POD_ROOT": str(root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
