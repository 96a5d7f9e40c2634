"""The program with guests of the tests, and what it uses."""
import json, os, shutil, socket, subprocess, sys, time
from pathlib import Path

from clients import Http

ROOT = Path(__file__).resolve().parents[2]
GUESTS = ["streams", "sessions", "channels", "subscriptions", "schedules", "snapshot", "waits", "echo", "traps"]

# Words in the names of counters that are in a sample.
REPORTED = ["bound_reached", "dropped", "missed", "restarts", "failed"]

def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]

class Host:
    def start(self):
        changes = {
            "channels": {"channels": {"channels/history/*": {"history": {"count": 100, "age": "2m"}}}},
            "schedules": {"schedules": {
                "each": {"interval": "1s", "path": "tick", "type": "all"},
                "one": {"cron": "* * * * * *", "path": "other"}}},
            "subscriptions": {"capabilities": {"events": ["*"]}, "subscriptions": {
                "all": {"event": "steady", "path": "on", "deliver": "all"},
                "one": {"event": "churn/*", "path": "other"},
                "feed": {"event": "feed/*", "sse": {"key": "subscriptions/{topic}"}}}},
            "waits": {"capabilities": {"rpc": ["echo", "snapshot"], "broadcast": ["snapshot"]}},
        }
        grants = {"sessions": {"sessions": True}, "channels": {"sessions": True, "channels": ["lobby/*"]},
                  "subscriptions": {"events": ["*"]},
                  "waits": {"rpc": ["echo", "snapshot"], "broadcast": ["snapshot"]}}
        for guest in GUESTS:
            source, folder = ROOT / "tests/guests" / guest, self.dir / "modules" / guest
            folder.mkdir(parents=True)
            for file in source.glob("*.wasm"): shutil.copy(file, folder)
            manifest = json.loads((source / "module.json").read_text())
            manifest.pop("$schema", None)
            for key, value in changes.get(guest, {}).items():
                old = manifest.get(key)
                manifest[key] = {**old, **value} if isinstance(old, dict) else value
            self.manifests[guest] = manifest
            (folder / "module.json").write_text(json.dumps(manifest))
        age = {"count": 100, "age": "2m", "bytes": "1MiB"}
        settings = {
            "workers": 2, "brokers": 2, "isolate": {"maxRestarts": 10_000}, "sse": {"history": age},
            "swap": {"watch": False, "settle": "0ms"},
            "events": {"listen": "%s:%d" % self.events, "history": {"count": 5000, "age": "2m"}},
            "websocket": {"history": "/channels", "listeners": [
                {"path": "/sc/", "protocol": 2, "module": "channels"},
                {"path": "/sessions/", "protocol": 2, "module": "sessions"}]},
            "modules": {name: {"grants": grant} for name, grant in grants.items()},
        }
        (self.dir / "fanfare.json").write_text(json.dumps(settings))
        log = open(self.dir / "log", "w")
        program = [self.options.fanfare, "serve", "--env", "production"]
        program += ["--listen", "%s:%d" % self.http, "--admin", "%s:%d" % self.admin]
        self.process = subprocess.Popen(program, cwd=self.dir, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("fanfare serves"):
            sys.exit(f"{line}: see {self.dir}/log")
        print(line.strip(), self.dir, flush=True)

    async def operator(self, method, path, body=""):
        connection = Http(self.admin)
        try:
            return await connection.ask(method, path, body)
        finally:
            connection.close()

    async def sample(self, begun):
        pid = self.process.pid
        status = Path(f"/proc/{pid}/status").read_text()
        field = lambda name: int(status.split(f"\n{name}:")[1].split()[0])
        stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        _, metrics = await self.operator("GET", "/metrics")
        gauges, totals, kinds = {}, {}, {}
        for line in metrics.splitlines():
            if line.startswith("# TYPE "):
                name, kinds_of = line.split()[2:4]
                kinds[name] = kinds_of
            elif line and line[0] != "#":
                name, value = line.split("{")[0].split(" ")[0], float(line.rsplit(" ", 1)[1])
                if kinds.get(name) == "gauge": gauges[name] = gauges.get(name, 0) + value
                elif value and any(word in name for word in REPORTED):
                    totals[name] = totals.get(name, 0) + value
        return {
            "seconds": round(time.monotonic() - begun), "rssKiB": field("VmRSS"), "anonKiB": field("RssAnon"),
            "swapKiB": field("VmSwap"), "threads": field("Threads"), "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "mappings": Path(f"/proc/{pid}/maps").read_text().count("\n"), "metricLines": metrics.count("\n"),
            "cpuSeconds": (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"), "gauges": gauges,
            "totals": totals,
        }
