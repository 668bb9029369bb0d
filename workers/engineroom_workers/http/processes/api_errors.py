"""Errors of the API on their way between processes."""

from __future__ import annotations

from engineroom.errors import APIError

from .frames import ErrorFields


def fields_of(error: APIError) -> ErrorFields:
    """An error, to send to the other process."""
    return ErrorFields(error.message, error.status, error.type, error.param, error.code, error.retry_after)


def as_error(fields: ErrorFields) -> APIError:
    """An error that the other process has sent."""
    return APIError(
        fields.message,
        status=fields.status,
        type=fields.type,
        param=fields.param,
        code=fields.code,
        retry_after=fields.retry_after,
    )
