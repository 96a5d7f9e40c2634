"""The loads. Each runs until the end, and checks each answer."""
import asyncio, itertools, json, random, time

from clients import Crashed, Failed, Http, Sc, Sse, Ws

class Loads:
    """Calls with an outcome, and loads that repeat them. The host is that of `Run`."""

    async def call(self, connection, what, modules, method, path, body="", headers=()):
        """Asks, and returns the body. `None` if it has crashed because of the trouble."""
        since = time.monotonic()
        try:
            status, text = await connection.ask(method, path, body, headers)
        except Exception as error:
            connection.close()
            self.ledger.fail(what, f"{path}: {error!r}")
            return None
        if status in (200, 204):
            self.ledger.count(what)
            return text
        code = json.loads(text).get("code") if text.startswith("{") else None
        if code == "crashed":
            self.ledger.crash(what, modules, since, f"{path}: {status} {text}")
        else:
            self.ledger.fail(what, f"{path}: {status} {text}")
        return None

    def expect(self, what, is_true, text):
        if not is_true: self.ledger.fail(what, text)

    # Loads. Each repeats until the end.

    async def loop(self, what, pause, step, modules=()):
        """Repeats a step. What it does has a new number each time."""
        pause /= self.options.rate
        await asyncio.sleep(random.random() * pause)
        while not self.stop:
            since, begun = time.monotonic(), time.time()
            try:
                await step(next(self.number))
                self.ledger.count(what)
            except Crashed as error:
                self.ledger.crash(what, modules, since, str(error))
            except Exception as error:
                # Without a host, a step that continues finds closed connections.
                if not self.stop: self.ledger.fail(what, f"{error!r} (began {time.time() - begun:.1f} s ago)")
            await asyncio.sleep(max(0.0, pause * (0.5 + random.random()) - (time.monotonic() - since)))

    async def requests(self):
        connection = Http(self.http)
        async def step(number):
            body = "x" * random.randrange(20_000)
            answer = await self.call(connection, "http echo", ["echo"], "POST", "/api/echo/echo", body)
            self.expect("http echo", answer is None or answer == body, "another body")
            await self.call(connection, "http count", ["snapshot"], "GET", "/api/snapshot/count")
            if number % 50 == 0: connection.close()
        await self.loop("requests", 0.05, step)

    async def rpc(self):
        connection = Http(self.http)
        async def step(number):
            call = {"route": "echo/echo", "target": {"worker": number % 2}, "payload": f"n{number}"}
            answer = await self.call(connection, "rpc", ["waits"], "POST", "/api/waits/nested", json.dumps(call))
            if answer is not None:
                answer = json.loads(answer)
                if answer.get("error", {}).get("kind") == "crashed": raise Crashed(str(answer))
                self.expect("rpc", answer.get("ok", {}).get("payload") == f"n{number}", str(answer))
        await self.loop("rpc", 0.1, step, ["echo"])

    async def broadcasts(self):
        async def step(number):
            gather = number % 2 == 0
            path = "/v1/modules/snapshot/broadcasts/mark" + ("?gather=true" if gather else "")
            status, text = await self.operator("POST", path)
            told = json.loads(text)
            if gather:
                codes = [one.get("code") or one.get("error", {}).get("code") for one in told]
                if "crashed" in codes: raise Crashed(text)
                self.expect("gather", len(told) == 2 and codes == [None, None], text)
            else:
                self.expect("emit", status in (200, 202) and told.get("accepted") == 2, text)
        await self.loop("broadcasts", 0.2, step, ["snapshot"])

    async def short_streams(self):
        connection = Http(self.http)
        async def step(number):
            key = f"streams/k{number}"
            stream = await Sse.open(self.http, f"/stream?connectKey={key}")
            body = lambda start: json.dumps({"key": key, "from": start, "count": 3, "size": 200})
            for start in (0, 3):
                path = "/api/streams/burst"
                published = await self.call(connection, "publish", ["streams"], "POST", path, body(start))
                if published is None:
                    stream.close()
                    return
            first = [(await stream.event())[2].rstrip("x") for _ in range(3)]
            stream.close()
            again = await Sse.open(self.http, f"/stream?connectKey={key}", stream.id)
            first += [(await again.event())[2].rstrip("x") for _ in range(3)]
            again.close()
            self.expect("resume", first == [str(n) for n in range(6)], f"{key}: {first}")
        await self.loop("short streams", 0.15, step)

    async def steady_stream(self, key, restless):
        """Follows a key for ever. Gaps are only numbers whose publish has crashed."""
        stream, last = await Sse.open(self.http, f"/stream?connectKey={key}"), -1
        while not self.stop:
            try:
                name, _, data = await stream.event()
                number = int(data)
                missing = set(range(last + 1, number)) - self.unknown[key] if last >= 0 else set()
                self.expect("steady stream", name == "message" and number > last and not missing,
                            f"{key}: {name} {number} after {last}, missing {sorted(missing)[:5]}")
                last = number
                self.ledger.count("steady stream")
                if restless and random.random() < 0.01:
                    stream.close()
                    stream = await Sse.open(self.http, f"/stream?connectKey={key}", stream.id)
            except Exception as error:
                if self.stop: return
                self.ledger.fail("steady stream", repr(error))
                stream.close()
                await asyncio.sleep(1)
                stream, last = await Sse.open(self.http, f"/stream?connectKey={key}"), -1
        stream.close()

    async def steady_publisher(self, key):
        connection, numbers = Http(self.http), itertools.count()
        async def step(_):
            number = next(numbers)
            body = json.dumps({"key": key, "from": number, "count": 1})
            self.unknown[key].add(number)
            if await self.call(connection, "publish", ["streams"], "POST", "/api/streams/burst", body) is not None:
                self.unknown[key].discard(number)
        await self.loop("steady publish", 0.2, step)

    async def steady_socket(self):
        socket, numbers = await Ws.open(self.http, "/api/sessions/echo"), itertools.count()
        async def step(_):
            nonlocal socket
            text, since = f"m{next(numbers)}", time.monotonic()
            socket.send(text)
            try:
                answer = await asyncio.wait_for(socket.text(), 12)
                self.expect("socket", answer == text, f"{answer} for {text}")
            except asyncio.TimeoutError:
                socket.writer.close()
                socket = await Ws.open(self.http, "/api/sessions/echo")
                raise Crashed(f"no answer to {text}, sent {time.monotonic() - since:.1f} s ago")
        await self.loop("socket messages", 0.2, step, ["sessions"])

    async def sessions(self):
        """A session with a user, values and a group that nobody had before."""
        async def step(number):
            socket = await Ws.open(self.http, "/api/sessions/use")
            async def use(what, **more):
                socket.send(json.dumps({"do": what, **more}))
                try:
                    return json.loads(await asyncio.wait_for(socket.text(), 12))
                except asyncio.TimeoutError:
                    raise Crashed(f"no answer to {what}")
            try:
                session = (await use("current"))["id"]
                uid, group = f"user-{number}", f"group-{number}"
                for what, more in [("bind", {"uid": uid, "taken": "refuse"}),
                                   ("join", {"group": group, "sessions": [session]}),
                                   ("set", {"values": [[f"key-{number}", json.dumps("v" * 300)]]}), ("apply", {})]:
                    answer = await use(what, **more)
                    self.expect("sessions", "error" not in str(answer), f"{what}: {answer}")
                members = await use("members", group=group)
                self.expect("sessions", members == [session], f"members: {members}, not {session}")
                to = [{"group": group}, {"uid": uid}]
                socket.send(json.dumps({"do": "push", "to": to, "name": "hello", "payload": "p"}))
            finally:
                await socket.close()
        await self.loop("sessions", 0.2, step, ["sessions"])

    async def channels(self):
        """Channels that nobody has used before, with history, presence and a route."""
        async def step(number):
            client = await Sc.open(self.http, "/sc/")
            try:
                members, history = f"channels/members/{number}", f"channels/history/{number}"
                await client.ask("#subscribe", {"channel": f"presence/{members}"})
                await client.ask("#subscribe", {"channel": members, "data": {"n": number}})
                joined = await client.message()
                self.expect("presence", joined["data"]["action"] == "join", str(joined))
                list_of = await client.ask("#members", {"channel": members})
                self.expect("members", str(number) in json.dumps(list_of), str(list_of))
                await client.ask("#subscribe", {"channel": history})
                for n in range(3):
                    await client.ask("#publish", {"channel": history, "data": {"n": n, "pad": "y" * 200}})
                got = [(await client.message())["data"]["n"] for _ in range(3)]
                page = await client.ask("#history", {"channel": history})
                kept = [one["data"]["n"] for one in page["messages"]]
                self.expect("channels", got == kept == [0, 1, 2], f"{got} {kept}")
                if number % 2: await client.ask("#unsubscribe", members)
            finally:
                await client.close()
            if number % 5 == 0:
                status, text = await Http(self.http).ask("GET", f"/channels/{history}", headers=["connection: close"])
                self.expect("history over HTTP", status == 200 and len(json.loads(text)["messages"]) == 3, text)
        await self.loop("channels", 0.2, step, ["channels"])

    async def steady_members(self):
        """Two clients of one channel whose route runs in a broker. Both see the same, in order."""
        channel = "channels/kept/steady"
        readers = [await Sc.open(self.http, "/sc/") for _ in range(3)]
        for reader in readers: await reader.ask("#subscribe", {"channel": channel})
        place = [None] * 3
        async def read(index):
            while not self.stop:
                message = await readers[index].message(60)
                epoch, number = message["position"].rsplit("-", 1)
                want = place[index] and place[index] + 1
                self.expect("steady channel", want in (None, int(number)), f"{number} after {place[index]}")
                place[index] = int(number)
                self.ledger.count("channel messages")
        tasks = [asyncio.create_task(read(index)) for index in range(3)]
        async def step(number):
            for task in tasks:
                if task.done() and not self.stop: task.result()
            await readers[number % 3].ask("#publish", {"channel": channel, "data": number})
        await self.loop("steady channel", 0.1, step, ["channels"])
        for task in tasks: task.cancel()

    async def emits(self):
        connection, modules = Http(self.events), Http(self.http)
        async def step(number):
            headers = ["content-type: application/json", f"idempotency-key: key-{number}"]
            for kind in ["steady", f"churn/{number}", f"feed/{number}"]:
                body = json.dumps([{"type": kind, "value": {"n": number, "pad": "z" * 100}}])
                fields = [headers[0], headers[1] + kind.replace("/", "-")]
                await self.call(connection, "service emit", [], "POST", "/events", body, fields)
            emit = json.dumps({"type": f"churn/guest-{number}", "value": number})
            await self.call(modules, "guest emit", ["subscriptions"], "POST", "/api/subscriptions/emit", emit)
        await self.loop("emits", 0.2, step)

    async def subscribers(self):
        async def step(number):
            stream = await Sse.open(self.events, "/events?type=steady&type=never/" + str(number))
            places = []
            for _ in range(10):
                places.append(int((await stream.event())[1].rsplit("-", 1)[1]))
            stream.close()
            again = await Sse.open(self.events, "/events?type=steady", stream.id)
            name, place, _ = await again.event()
            places.append(int(place.rsplit("-", 1)[1]))
            again.close()
            self.expect("subscriber", name == "message" and places == sorted(set(places)), f"{name} {places}")
        await self.loop("subscribers", 1, step)

    async def dynamic(self):
        """Subscriptions at run time, for types that nobody has used before."""
        async def step(number):
            connection, since = Http(self.http), time.monotonic()
            wanted = json.dumps({"pattern": f"dynamic/{number}", "route": "on"})
            await self.call(connection, "subscribe", ["subscriptions"], "POST", "/api/subscriptions/subscribe", wanted)
            while True:
                name = f"dynamic/{number} -> on"
                status, text = await connection.ask("POST", "/api/subscriptions/unsubscribe", name)
                # A call that has crashed may have done its work.
                is_gone = '"not-found"' in text and self.ledger.excuses("subscriptions", since)
                if status in (200, 204) or is_gone: break
                if '"crashed"' not in text: raise Failed(f"unsubscribe: {status} {text}")
            connection.close()
            for worker in (0, 1):
                await self.operator("POST", f"/v1/modules/subscriptions/call?target=worker-{worker}&path=forget")
        await self.loop("dynamic subscriptions", 1, step)
