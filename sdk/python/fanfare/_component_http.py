"""Requests to other servers, over `wasi:http` 0.3, which waits without holding up other calls."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import wit_world
from componentize_py_types import Err, Ok
from wit_world.imports import client
from wit_world.imports import wasi_http_types as h

from ._backend import Pairs
from ._errors import CallError, timed_out
from ._loop import read

# How much of a response body is read at once.
_PIECE = 65_536
_NANOSECONDS = 1_000_000_000
_METHODS = {
    "GET": h.Method_Get,
    "HEAD": h.Method_Head,
    "POST": h.Method_Post,
    "PUT": h.Method_Put,
    "DELETE": h.Method_Delete,
    "OPTIONS": h.Method_Options,
    "PATCH": h.Method_Patch,
}
_SCHEMES = {"http": h.Scheme_Http, "https": h.Scheme_Https}

_trailers = wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future
_unit = wit_world.result_unit_wasi_http_types_error_code_future


async def send(
    method: str, url: str, headers: Pairs, body: bytes | None, timeout: float | None
) -> tuple[int, Pairs, bytes]:
    """Sends a request and reads the whole response."""
    request, writing = _request(method, url, headers, body, timeout)
    try:
        response = await client.send(request)
    except Err as error:
        writing.cancel()
        raise _error(error.value, url) from None
    fields = response.get_headers()
    received = [(name.lower(), _decode(value)) for name, value in fields.copy_all()]
    fields.__exit__(None, None, None)
    status = response.get_status_code()
    done_writer, done_reader = _unit(lambda: Ok(None))
    stream, trailers = h.Response.consume_body(response, done_reader)
    pieces = []
    with stream:
        while not stream.writer_dropped:
            pieces.append(await stream.read(_PIECE))
    await done_writer.write(Ok(None))
    ended = await read(trailers)
    if isinstance(ended, Err):
        raise _error(ended.value, url)
    return int(status), received, b"".join(pieces)


def _request(
    method: str, url: str, headers: Pairs, body: bytes | None, timeout: float | None
) -> tuple[Any, asyncio.Task[None]]:
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise CallError("invalid", f"`{url}` is not the URL of a web server: write http://.. or https://..")
    options = None
    if timeout is not None:
        options = h.RequestOptions()
        duration = int(timeout * _NANOSECONDS)
        options.set_connect_timeout(duration)
        options.set_first_byte_timeout(duration)
    if body is not None and all(name != "content-length" for name, _ in headers):
        headers = [*headers, ("content-length", str(len(body)))]
    try:
        fields = h.Fields.from_list([(name, value.encode()) for name, value in headers])
    except Err:
        raise CallError("invalid", "a header field has a name or a value that HTTP does not allow") from None
    contents = writer = None
    if body is not None:
        writer, contents = wit_world.byte_stream()
    trailers_writer, trailers = _trailers(lambda: Ok(None))
    request, sent = h.Request.new(fields, contents, trailers, options)
    try:
        request.set_method(_METHODS[method]() if method in _METHODS else h.Method_Other(method))
        request.set_scheme(_SCHEMES[parts.scheme]())
        request.set_authority(parts.netloc)
        request.set_path_with_query((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    except Err:
        raise CallError("invalid", f"`{method} {url}` is not a request that HTTP allows") from None
    return request, asyncio.create_task(_write(writer, trailers_writer, sent, body))


async def _write(writer: Any, trailers: Any, sent: Any, body: bytes | None) -> None:
    """Writes the body while the request is sent. Its end, good or bad, is that of the request."""
    if writer is not None:
        with writer:
            await writer.write_all(body)
    await trailers.write(Ok(None))
    await read(sent)


def _decode(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("iso-8859-1")


def _error(code: Any, url: str) -> CallError:
    """Names the error as the contract does."""
    name = type(code).__name__.removeprefix("ErrorCode_")
    if name == "HttpRequestDenied":
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        return CallError("forbidden", f"the module lacks the grant `http` for {origin}")
    if name.endswith("Timeout"):
        return timed_out()
    detail = getattr(code, "value", None)
    return CallError("unavailable", f"the request to {url} failed: {name}{f' ({detail})' if detail else ''}")
