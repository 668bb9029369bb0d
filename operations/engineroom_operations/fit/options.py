"""Values of options that several commands have."""

from __future__ import annotations

import click

_K = 1024


def token_count(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Tokens, as `32768` or `32k`, for an option.

    Raises:
        click.BadParameter: it is something else.
    """
    if value is None:
        return None
    text = value.strip().lower()
    digits = text.removesuffix("k").replace(",", "").replace("_", "")
    tokens = int(digits) * (_K if text.endswith("k") else 1) if digits.isdecimal() else 0
    if tokens < 1:
        raise click.BadParameter(f"{value} is no number of tokens, such as 32768 or 32k")
    return tokens
