"""The module's configuration: that of the manifest, then of the operator, then of the tenant."""

from __future__ import annotations

from typing import Any

from ._backend import backend
from ._current import caller
from ._imports import text_of
from ._payload import from_json

__all__ = ["get"]


def get(pointer: str = "", default: Any = None) -> Any:
    """Returns the value at a JSON Pointer such as `/greeting`, or the default.

    `""` points to the whole configuration.
    """
    text = backend().config(caller(), text_of(pointer))
    return default if text is None else from_json(text)
