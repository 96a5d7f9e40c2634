"""Clients of HTTP, server-sent events, WebSockets and SocketCluster, with the standard library."""
import asyncio, base64, json, os

class Failed(Exception):
    """An answer that nobody may get."""

class Http:
    """A connection that is kept."""
    def __init__(self, address):
        self.address, self.streams = address, None

    async def ask(self, method, path, body="", headers=()):
        body = body if isinstance(body, bytes) else body.encode()
        if self.streams is None:
            self.streams = await asyncio.open_connection(*self.address, limit=1 << 22)
        reader, writer = self.streams
        lines = [f"{method} {path} HTTP/1.1", f"host: {self.address[0]}", f"content-length: {len(body)}", *headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).decode()
        status, fields = int(head.split(" ", 2)[1]), head.lower()
        if "content-length:" in fields:
            body = await reader.readexactly(int(fields.split("content-length:")[1].split("\r\n")[0]))
        elif "chunked" in fields:
            body = b""
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        else:
            body = b""
        if "connection: close" in fields:
            self.close()
        return status, body.decode(errors="replace")

    def close(self):
        if self.streams:
            self.streams[1].close()
        self.streams = None

class Sse:
    """A live stream. Yields (event, id, data)."""
    def __init__(self, reader, writer):
        self.reader, self.writer, self.id, self.rest = reader, writer, "", ""

    @staticmethod
    async def open(address, path, last=None):
        reader, writer = await asyncio.open_connection(*address)
        field = f"last-event-id: {last}\r\n" if last else ""
        writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{field}\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise Failed(f"{path}: {head!r}")
        return Sse(reader, writer)

    async def event(self, patience=30):
        while True:
            block, found, rest = self.rest.partition("\n\n")
            if found:
                self.rest = rest
                name, data = "message", None
                for line in block.split("\n"):
                    field, _, value = line.partition(": ")
                    if field == "event": name = value
                    elif field == "id": self.id = value
                    elif field == "data" or line == "data:": data = value if data is None else f"{data}\n{value}"
                if data is not None:
                    if name in ("full", "unavailable"):
                        raise Failed(f"event {name}")
                    return name, self.id, data
                continue
            size = await asyncio.wait_for(self.reader.readline(), patience)
            if not size or int(size, 16) == 0:
                raise Failed("the host ended a stream")
            self.rest += (await self.reader.readexactly(int(size, 16) + 2))[:-2].decode()

    def close(self):
        self.writer.transport.abort()

class Ws:
    """A plain WebSocket."""
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, address, path):
        reader, writer = await asyncio.open_connection(*address)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write((f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
                      f"sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n").encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise Failed(f"{path}: {head!r}")
        return cls(reader, writer)

    def frame(self, kind, payload):
        # A mask of zeros leaves the payload as it is.
        size = len(payload)
        head = bytes([0x80 | kind, 0x80 | size]) if size < 126 else bytes([0x80 | kind, 0xFE]) + size.to_bytes(2, "big")
        self.writer.write(head + bytes(4) + payload)

    def send(self, text):
        self.frame(1, text.encode())

    async def text(self):
        while True:
            first, second = await self.reader.readexactly(2)
            size = second
            if second == 126: size = int.from_bytes(await self.reader.readexactly(2), "big")
            if second == 127: size = int.from_bytes(await self.reader.readexactly(8), "big")
            payload = await self.reader.readexactly(size)
            if first & 15 == 9: self.frame(10, payload)
            elif first & 15 == 8: raise Failed(f"the host closed a WebSocket: {payload!r}")
            elif first & 15 == 1: return payload.decode()

    async def close(self):
        self.frame(8, (1000).to_bytes(2, "big"))
        try:
            await asyncio.wait_for(self.reader.read(), 10)
        except Exception:
            pass
        self.writer.close()

class Crashed(Exception):
    """An answer with the code `crashed`."""

class Sc:
    """A client of SocketCluster, version 2. Messages of channels are in `events`."""
    @staticmethod
    async def open(address, path):
        self = Sc()
        self.ws, self.cid, self.waiting, self.events = await Ws.open(address, path), 0, {}, asyncio.Queue()
        self.task = asyncio.create_task(self.read())
        await self.ask("#handshake", {"authToken": None})
        return self

    async def read(self):
        try:
            while True:
                text = await self.ws.text()
                if text == "":
                    self.ws.send("")
                    continue
                packet = json.loads(text)
                for one in packet if isinstance(packet, list) else [packet]:
                    if "rid" in one: self.waiting.pop(one["rid"]).set_result(one)
                    else: self.events.put_nowait(one)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            for one in self.waiting.values():
                one.cancelled() or one.set_exception(Failed(f"the connection ended: {error!r}"))
            self.events.put_nowait({"event": "ended", "data": repr(error)})

    async def ask(self, event, data):
        self.cid += 1
        answer = self.waiting[self.cid] = asyncio.get_running_loop().create_future()
        self.ws.send(json.dumps({"event": event, "data": data, "cid": self.cid}))
        answer = await asyncio.wait_for(answer, 60)
        if error := answer.get("error"):
            raise (Crashed if error.get("code") == "crashed" else Failed)(f"{event} {data}: {error}")
        return answer.get("data")

    async def message(self, patience=30):
        while True:
            packet = await asyncio.wait_for(self.events.get(), patience)
            if packet["event"] == "#publish": return packet["data"]
            if packet["event"] == "ended": raise Failed(f"the connection ended: {packet['data']}")

    async def close(self):
        self.task.cancel()
        await self.ws.close()
