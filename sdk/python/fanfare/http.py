"""The HTTP request of the current call, and requests to other servers.

Requests to other servers need the grant `http` for their origin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from ._backend import backend
from ._current import caller
from ._errors import CallError
from ._imports import text_of
from ._payload import Body, to_payload
from .types import RequestHead

__all__ = ["Response", "get", "head", "header", "headers", "post", "request"]


def header(name: str) -> list[str]:
    """Returns all values of a header field of the current request."""
    call = caller()
    return [] if call is None else backend().header(call, text_of(name))


def headers() -> list[tuple[str, str]]:
    """Returns all header fields of the current request."""
    call = caller()
    return [] if call is None else backend().headers(call)


def head() -> RequestHead | None:
    """Returns path, scheme, authority and peer of the current request."""
    call = caller()
    return None if call is None else backend().head(call)


@dataclass
class Response(Body):
    """What another server has answered. `text`, `bytes` and `json` read the body."""

    status: int
    #: Names in lower case, and values, in order.
    headers: list[tuple[str, str]] = field(default_factory=list)
    payload: bytes | None = None

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status <= 299

    def header(self, name: str) -> str | None:
        """Returns the first value of a header field."""
        wanted = name.lower()
        return next((value for other, value in self.headers if other == wanted), None)

    def _malformed(self, name: str, message: str) -> Exception:
        return CallError("invalid", f"cannot read the response: {message}")


Headers = Union[Mapping[str, str], Iterable[tuple[str, str]]]


async def request(
    method: str,
    url: str,
    *,
    headers: Headers = (),
    body: Any = None,
    timeout: float | None = None,
) -> Response:
    """Sends a request to another server and returns its whole response.

    `body` is text, bytes, or a value that becomes JSON. `timeout` is in seconds, and covers the
    connection and the wait for the first byte. Raises `CallError`: `forbidden` without the grant
    `http` for the origin of the URL, `unavailable` when the server cannot be reached.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    fields = [(text_of(name).lower(), text_of(value)) for name, value in pairs]
    try:
        payload, content_type = to_payload(body)
    except (TypeError, ValueError) as error:
        raise CallError("invalid", f"cannot serialise the body: {error}") from error
    data = payload.encode() if isinstance(payload, str) else payload
    if payload is not None and all(name != "content-type" for name, _ in fields):
        plain = "text/plain; charset=utf-8" if isinstance(payload, str) else "application/octet-stream"
        fields.append(("content-type", content_type or plain))
    status, received, content = await backend().send_request(
        method.upper(), text_of(url), fields, data, timeout
    )
    return Response(status, received, content)


async def get(url: str, *, headers: Headers = (), timeout: float | None = None) -> Response:
    """Sends a `GET` request. See `request`."""
    return await request("GET", url, headers=headers, timeout=timeout)


async def post(
    url: str, body: Any = None, *, headers: Headers = (), timeout: float | None = None
) -> Response:
    """Sends a `POST` request. See `request`."""
    return await request("POST", url, headers=headers, body=body, timeout=timeout)
