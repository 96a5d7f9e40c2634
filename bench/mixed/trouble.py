"""Swaps, crashes and kills."""
import asyncio, itertools, json

from clients import Crashed, Http, Sc
from host import GUESTS

class Trouble:
    async def swaps(self):
        names = itertools.cycle(GUESTS)
        component = (self.dir / "modules/snapshot/snapshot.wasm").read_bytes()
        while not self.stop:
            await asyncio.sleep(self.options.trouble)
            module, version = next(names), next(self.versions)
            manifest = self.manifests[module]
            manifest["config"] = {**manifest.get("config", {}), "version": version}
            self.put(module, "module.json", json.dumps(manifest).encode())
            if module == "snapshot":
                # A custom section with a name makes another component of the same code.
                name = f"variant-{version:08}".encode()
                self.put(module, "snapshot.wasm", component + bytes([0, len(name) + 1, len(name)]) + name)
            status, text = await self.operator("POST", f"/v1/modules/{module}/reload")
            swapped = status == 200 and json.loads(text)["outcome"] == "swapped"
            self.expect("swap", swapped, f"{module}: {status} {text}")
            self.ledger.count("swaps")

    def put(self, module, name, data):
        folder = self.dir / "modules" / module
        (folder / f".{name}.new").write_bytes(data)
        (folder / f".{name}.new").rename(folder / name)

    async def crashes(self):
        """A guest traps every 10 seconds, in turns."""
        await asyncio.sleep(self.options.trouble / 2)
        for number in itertools.count():
            if self.stop: return
            module = ["traps", "streams", "sessions", "subscriptions", "channels"][number % 5]
            trouble = self.ledger.begin(module)
            connection = Http(self.http)
            try:
                if module == "sessions":
                    client = await Sc.open(self.http, "/sessions/")
                    try:
                        await client.ask("trap", None)
                        self.ledger.fail("crash", "trap of sessions did not trap")
                    except Crashed: pass
                    await client.close()
                elif module == "channels":
                    client = await Sc.open(self.http, "/sc/")
                    try:
                        await client.ask("#publish", {"channel": "channels/publish/crash", "data": {"do": "panic"}})
                        self.ledger.fail("crash", "panic of channels did not trap")
                    except Crashed: pass
                    await client.close()
                else:
                    path = {"traps": "trap", "streams": "trap", "subscriptions": "crash"}[module]
                    status, text = await connection.ask("POST", f"/api/{module}/{path}")
                    self.expect("crash", status == 500 and '"crashed"' in text, f"{module}: {status} {text}")
            except Exception as error:
                self.ledger.fail("crash", f"{module}: {error!r}")
            connection.close()
            self.ledger.end(trouble)
            self.ledger.count("crashes")
            await asyncio.sleep(self.options.trouble)

    async def kills(self):
        turns = itertools.cycle([("workers", False), ("brokers", True), ("workers", True), ("brokers", False)])
        while not self.stop:
            await asyncio.sleep(6 * self.options.trouble)
            what, immediate = next(turns)
            trouble = self.ledger.begin(*GUESTS) if immediate else None
            status, text = await self.operator("POST", f"/v1/{what}/kill", json.dumps({"immediate": immediate}))
            self.expect("kill", status == 200, f"{what}: {status} {text}")
            if trouble: self.ledger.end(trouble)
            self.ledger.count("kills")
