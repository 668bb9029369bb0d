"""API keys as the settings have them: API_KEYS, and the file that API_KEYS_FILE names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engineroom.errors import Problem, SettingsError
from engineroom.settings import comma_list, read_text


class APIKey(BaseModel):
    """A client, by the name that logs and metrics show; a limit that is None is the door's default.

    priority: where requests wait, those of a higher one come first.
    operator: whether it may load and unload models, where there are several. Where no key is marked so, each may.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str
    concurrency: int | None = Field(None, ge=1)
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    priority: int = 0
    operator: bool = False


def read_keys(listed: str | None, file: Path | None) -> dict[str, APIKey]:
    """The keys in force, by what clients present. A file's go before the variable's.

    Args:
        listed: API_KEYS.
        file: API_KEYS_FILE.

    Raises:
        SettingsError: they are wrong, the file cannot be read, or there is no key in either.
    """
    keys = _parse("API_KEYS", _parse_list(listed or ""))
    if file is not None:
        keys |= _parse("API_KEYS_FILE", _parse_file(read_text(file, "API_KEYS_FILE"), file))
    if not keys:
        raise SettingsError([Problem("API_KEYS_FILE" if file else "API_KEYS", "there is no key in it")])
    if not any(key.operator for key in keys.values()):
        return {secret: key.model_copy(update={"operator": True}) for secret, key in keys.items()}
    return keys


def _parse(variable: str, entries: Sequence[tuple[str, Any]]) -> dict[str, APIKey]:
    keys: dict[str, APIKey] = {}
    names: set[str] = set()
    for name, value in entries:
        if name in names:
            raise SettingsError([Problem(variable, f"{name} is there twice")])
        names.add(name)
        fields = dict(value) if isinstance(value, dict) else {"key": value}
        secret = fields.pop("key", None)
        # No client can send a key with white space around it: HTTP strips it from headers.
        secret = secret.strip() if isinstance(secret, str) else None
        if not secret:
            raise SettingsError([Problem(variable, f"{name} has no key; write `{name}: <key>`, a string")])
        try:
            key = APIKey(name=name, **fields)
        except (ValidationError, TypeError) as error:
            where = name
            message = str(error)
            if isinstance(error, ValidationError):
                first = error.errors()[0]
                where = ".".join([name, *map(str, first["loc"])])
                message = first["msg"]
            raise SettingsError([Problem(variable, f"{where}: {message}")]) from None
        if keys.setdefault(secret, key) is not key:
            raise SettingsError([Problem(variable, f"{name} has the same key as another")])
    return keys


def _parse_list(text: str) -> list[tuple[str, Any]]:
    """The entries of API_KEYS: `name:key` or just `key`, which is called `key-1` and so on by its place.

    A list in a configuration file comes as JSON, and a secret's file may have a line for each.

    Raises:
        SettingsError: it begins like a JSON list, and is none of texts.
    """
    entries: list[tuple[str, Any]] = []
    try:
        listed = text if text.lstrip().startswith("[") else text.replace("\n", ",")
        parts = [part.strip() for part in comma_list(listed) if part.strip()]
    except (ValueError, AttributeError):
        raise SettingsError(
            [Problem("API_KEYS", "expected keys separated by commas, or a JSON list of texts")]
        ) from None
    for number, part in enumerate(parts, 1):
        name, colon, secret = part.partition(":")
        if colon:
            entries.append((name.strip(), secret))
        else:
            entries.append((f"key-{number}", part))
    return entries


def _parse_file(text: str, file: Path) -> list[tuple[str, Any]]:
    """The entries of API_KEYS_FILE.

    Raises:
        SettingsError: it is not YAML or JSON, or not a mapping.
    """
    import yaml

    try:
        # Node by node: a mapping would keep the last of two entries of a name, and lock the other's owner out.
        root = yaml.compose(text, yaml.SafeLoader)
        loader = yaml.SafeLoader("")
        if not isinstance(root, yaml.MappingNode) or not all(
            isinstance(name, yaml.ScalarNode) for name, _ in root.value
        ):
            raise SettingsError([Problem("API_KEYS_FILE", f"{file} must hold a mapping of names to keys")])
        return [(name.value, loader.construct_document(value)) for name, value in root.value]
    except (yaml.YAMLError, ValueError, RecursionError):
        # The parser's own message may quote a line, and lines here are secrets.
        raise SettingsError([Problem("API_KEYS_FILE", f"{file} is not valid YAML or JSON")]) from None
