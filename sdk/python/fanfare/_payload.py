"""Conversions between the payloads of the contract and values of Python."""

from __future__ import annotations

import dataclasses
import json
import re
from itertools import accumulate
from typing import Any, Union

from ._errors import Failure

#: The data that a call carries: none, text or bytes.
Payload = Union[None, str, bytes]

JSON_TYPE = "application/json"
# `Body.bytes` has the same name.
_Bytes = bytes


def _plain(value: Any) -> Any:
    """Converts a value that `json` does not know."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (set, frozenset)):
        return list(value)
    raise TypeError(f"a value of the type `{type(value).__name__}` is not JSON")


_encoder = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_plain)


def to_json(value: Any) -> str:
    """Serialises a value as JSON. Raises `ValueError` or `TypeError` when it cannot."""
    try:
        text = _encoder.encode(value)
    except RecursionError:
        raise ValueError("the value is nested too deeply") from None
    return checked(text)


def checked(text: str) -> str:
    """Returns the text. Raises `ValueError` for a lone surrogate, which is not Unicode text."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("the text has a lone surrogate, so it is not valid Unicode") from None
    return text


def to_payload(value: Any) -> tuple[Payload, str | None]:
    """Converts a value to a payload, and returns the content type if the host cannot know it.

    Raises `ValueError` or `TypeError` for a value that JSON cannot represent.
    """
    if value is None:
        return None, None
    if type(value) is str:
        return checked(value), None
    if isinstance(value, str):
        return checked(str(value)), None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value), None
    return to_json(value), JSON_TYPE


# A component has a small stack: it ends in a trap when JSON is nested a thousand times, which any
# client can send.
_DEEPEST = 250
_NO_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[^\[\]{}"]+', re.DOTALL)
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


def from_json(payload: Payload) -> Any:
    """Parses a payload as JSON. An empty payload is `None`. Raises `ValueError`."""
    if payload is None:
        return None
    text = payload.decode() if isinstance(payload, bytes) else payload
    if text.count("[") + text.count("{") > _DEEPEST:
        brackets = _NO_BRACKETS.sub("", text)
        if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > _DEEPEST:
            raise ValueError(f"the value is nested more than {_DEEPEST} times")
    return json.loads(text)


class Body:
    """Something with a payload: a call, a reply, a response."""

    payload: Payload

    @property
    def text(self) -> str:
        """The payload as text. Empty without a payload."""
        if isinstance(self.payload, bytes):
            try:
                return self.payload.decode()
            except UnicodeDecodeError:
                raise self._malformed("invalid-body", "the body is not valid UTF-8") from None
        return self.payload or ""

    @property
    def bytes(self) -> _Bytes:
        """The payload as bytes. Empty without a payload."""
        if isinstance(self.payload, str):
            return self.payload.encode()
        return self.payload or b""

    @property
    def json(self) -> Any:
        """The payload parsed as JSON. `None` without a payload."""
        try:
            return from_json(self.payload)
        except ValueError as error:
            raise self._malformed("invalid-body", f"the body is not JSON: {error}") from None

    def _malformed(self, name: str, message: str) -> Exception:
        """The error for a payload that cannot be read so. Of a call, it is the fault of its caller."""
        return Failure.bad_request(name, message)
