"""Near misses: which known name somebody meant."""

from __future__ import annotations

from collections.abc import Iterable

FOREIGN = (
    "RUNPOD_",
    "CUDA_",
    "NVIDIA_",
    "NCCL_",
    "HF_",
    "PYTHON",
    "PIP_",
    "LC_",
    "KUBERNETES_",
    "AWS_",
    "OMP_",
    "MKL_",
)
"""Prefixes of variables that belong to others, however much they look like ours."""


def suggest(name: str, known: Iterable[str], *, sure: bool = False) -> str | None:
    """The known name closest to `name`, or None.

    Args:
        sure: only when it can hardly mean anything else: long names, almost equal, and not another program's.
    """
    import difflib

    if sure and (len(name) < 8 or "_" not in name or not name.isupper() or name.startswith(FOREIGN)):
        return None
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.87 if sure else 0.6)
    if sure and matches and name.count("_") != matches[0].count("_"):
        return None
    return matches[0] if matches else None
