"""GitHub's workflows as files to read: their jobs in the order in which they run, and each one's steps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
_USUAL_MINUTES = 360
"""What GitHub gives a job that says nothing."""


class UnknownValueError(Exception):
    """An expression needs a value that is not known here."""


@dataclass(frozen=True)
class WorkflowStep:
    """One step of a job.

    title: what GitHub shows.
    action: what it uses, without the commit; empty for a script.
    environ: the job's and the step's variables. As in the file, with their expressions, as are `inputs` and `script`.
    seconds: how long the job may take.
    """

    job: str
    title: str
    action: str
    script: str
    inputs: Mapping[str, str]
    environ: Mapping[str, str]
    seconds: int
    id: str = ""


def steps(path: Path) -> Iterator[WorkflowStep]:
    """All steps of a workflow, job by job; a job that is another workflow of ours is one step."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, job in _in_order(workflow["jobs"]):
        for step in job.get("steps", [job]):
            action = str(step.get("uses", "")).partition("@")[0]
            script = str(step.get("run", ""))
            yield WorkflowStep(
                job=name,
                title=str(step.get("name") or action or script.strip().splitlines()[0]),
                action=action,
                script=script,
                inputs=_texts(step.get("with", {})),
                environ={**_texts(job.get("env", {})), **_texts(step.get("env", {}))},
                seconds=60 * int(job.get("timeout-minutes", _USUAL_MINUTES)),
                id=str(step.get("id", "")),
            )


def filled_in(text: str, values: Mapping[str, str]) -> str:
    """A text with its expressions replaced, of which `a || b` is the first that is not empty.

    Args:
        values: by their dotted names, as `github.ref_name`.

    Raises:
        UnknownValueError: there is no such value, or the expression is of another form.
    """

    def value(expression: re.Match[str]) -> str:
        names = [name.strip() for name in expression[1].split("||")]
        for name in names:
            if name not in values:
                raise UnknownValueError(name)
        return next((values[name] for name in names if values[name]), "")

    return _EXPRESSION.sub(value, text)


def _in_order(jobs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The jobs, each behind those that it needs."""
    waiting = dict(jobs)
    done: set[str] = set()
    while waiting:
        ready = [name for name, job in waiting.items() if {*_listed(job.get("needs", []))} <= done]
        if not ready:
            raise ValueError(f"these jobs wait for each other: {', '.join(waiting)}")
        for name in ready:
            yield name, waiting.pop(name)
            done.add(name)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}
