"""What a handler returns, and how its errors become failures."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from typing import Any, Union

from ._errors import CallError, Failure
from ._payload import JSON_TYPE, Payload, checked, to_payload
from .types import Passed, Reply

Headers = Union[Mapping[str, str], Iterable[tuple[str, str]]]

_NOTHING: Any = object()


def reply(body: Any = None, *, status: int = 0, headers: Headers = ()) -> Reply:
    """Creates a reply with this body, status and header fields.

    The body is `None`, text, bytes, or a value that becomes JSON. Without a status the host sends
    200, or 204 without a body.
    """
    if status and not 200 <= status <= 599:
        raise ValueError(f"the status of a reply is 200 to 599, and not {status}")
    try:
        payload, content_type = to_payload(body)
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        fields = [(checked(str(name)).lower(), checked(str(value))) for name, value in pairs]
    except (TypeError, ValueError) as error:
        raise Failure("invalid-result", f"cannot serialise the result of the handler: {error}") from error
    if content_type is not None and all(name != "content-type" for name, _ in fields):
        fields.insert(0, ("content-type", content_type))
    return Reply(status, fields, payload)


def passed(payload: Any = _NOTHING, *, extra: Mapping[str, str] | None = None) -> Passed:
    """Lets the call continue with its next step. A middleware, a filter or a channel route returns it.

    `payload` replaces the payload of the call. The next steps find each fact of `extra` in
    `call.extra` as `<this module>.<name>`.
    """
    facts = {str(name): checked(str(value)) for name, value in (extra or {}).items()}
    if payload is _NOTHING:
        return Passed(extra=facts)
    return Passed(True, to_payload(payload)[0], facts)


def outcome(value: Any) -> Reply | Passed:
    """Converts what a handler has returned."""
    if isinstance(value, (Reply, Passed)):
        return value
    payload, headers = serialised(value)
    return Reply(0, headers, payload)


def serialised(value: Any) -> tuple[Payload, list[tuple[str, str]]]:
    """Returns the payload and the header fields of a result that is neither `Reply` nor `Passed`."""
    try:
        payload, content_type = to_payload(value)
    except (TypeError, ValueError) as error:
        raise Failure("invalid-result", f"cannot serialise the result of the handler: {error}") from error
    return payload, [] if content_type is None else [("content-type", JSON_TYPE)]


def message_of(error: BaseException) -> str:
    """Returns one line for a person. The text of some exceptions alone says too little."""
    text = str(error)
    if not text or isinstance(error, (KeyError, SystemExit)):
        return traceback.format_exception_only(type(error), error)[-1].strip()
    return text


# The status of a failure that is the fault of the module.
_FAULT = 500


def failure_of(error: BaseException) -> tuple[Failure, bool]:
    """Returns the failure for an exception of a handler, and whether the log needs nothing.

    The log has each failure with the status 500, except one that another call has returned.
    """
    if isinstance(error, Failure):
        return error, error.status != _FAULT or "silent" in error.extra
    if isinstance(error, CallError):
        return error.into_failure(), True
    return Failure("error", message_of(error)), False


# A recursion without end has a thousand.
_MOST_PLACES = 10


def places(error: BaseException) -> list[str]:
    """Returns where an exception was raised: `file.py:12 in function`, the innermost first.

    Leaves out the files of the SDK and of the standard library, unless nothing else remains.
    """
    frames = traceback.extract_tb(error.__traceback__)
    written = [f"{short(frame.filename)}:{frame.lineno} in {frame.name}" for frame in reversed(frames)]
    own = [text for text, frame in zip(written, reversed(frames)) if not _is_library(frame.filename)]
    return (own or written)[:_MOST_PLACES]


def short(path: str) -> str:
    """Returns the path below the folder that the build has mounted, `/0/hello.py`, as `hello.py`."""
    head, _, rest = path.lstrip("/").partition("/")
    return rest if rest and head.isdigit() else path


_HERE = __file__.rpartition("/")[0] + "/"
_STANDARD = traceback.__file__.rpartition("/")[0] + "/"


def _is_library(path: str) -> bool:
    return path.startswith((_HERE, _STANDARD, "/bundled/", "<frozen "))
