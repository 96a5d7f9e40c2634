"""What the namespaces of the imports share."""

from __future__ import annotations

from typing import Any

from ._errors import CallError
from ._payload import Payload, checked, to_json, to_payload

_U32 = 2**32 - 1


def payload_of(value: Any) -> Payload:
    """Converts an argument to a payload. Raises `CallError` of the kind `invalid`."""
    try:
        return to_payload(value)[0]
    except (TypeError, ValueError) as error:
        raise CallError("invalid", f"cannot serialise the payload: {error}") from error


def json_of(value: Any) -> str:
    """Converts an argument to JSON text. Raises `CallError` of the kind `invalid`."""
    try:
        return to_json(value)
    except (TypeError, ValueError) as error:
        raise CallError("invalid", f"cannot serialise the value as JSON: {error}") from error


def text_of(value: str) -> str:
    """Checks text for the host."""
    if not isinstance(value, str):
        raise TypeError(f"expected text, and not `{type(value).__name__}`")
    try:
        return checked(value)
    except ValueError as error:
        raise CallError("invalid", str(error)) from error


def opt_text(value: str | None) -> str | None:
    """Checks optional text for the host."""
    return None if value is None else text_of(value)


def millis(seconds: float | None) -> int | None:
    """Converts seconds to milliseconds, within the range of the contract."""
    if seconds is None:
        return None
    if not seconds >= 0:
        raise CallError("invalid", f"a time is 0 or more seconds, and not {seconds}")
    return int(min(seconds * 1000, _U32))
