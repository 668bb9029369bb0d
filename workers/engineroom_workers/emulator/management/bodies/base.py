"""What all bodies have in common: JSON's own types, no unknown field, and every mistake told at once."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from ..problems import RequestProblem

Name = Annotated[str, StringConstraints(min_length=1)]
CudaVersion = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+$")]
Count = Annotated[int, Field(ge=1)]

B = TypeVar("B", bound="ReceivedBody")


class ReceivedBody(BaseModel):
    """A JSON object with the fields that a subclass names, in camel case."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)

    def given(self) -> dict[str, Any]:
        """The fields that the client sent, by their names in JSON."""
        return self.model_dump(by_alias=True, exclude_unset=True)


def parse(model: type[B], body: bytes) -> B:
    """Read a body.

    Raises:
        RequestProblem: 400 if it is not JSON, 422 with each field that is wrong otherwise.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_context=False, include_input=False)
        if any(mistake["type"] == "json_invalid" for mistake in mistakes):
            raise RequestProblem(400, f"the body is not JSON: {mistakes[0]['msg']}") from None
        raise RequestProblem(
            422, "the body does not match the schema", [_describe(mistake) for mistake in mistakes]
        ) from None


def _describe(mistake: Any) -> str:
    place = ".".join(str(part) for part in mistake["loc"])
    text = str(mistake["msg"]).removeprefix("Value error, ")
    return f"{place}: {text}" if place else text


def unique(values: list[Any]) -> list[Any]:
    """The values, if none is there twice.

    Raises:
        ValueError: one is.
    """
    if any(values[i] == values[j] for i in range(len(values)) for j in range(i)):
        raise ValueError("no item may be there twice")
    return values
