#!/usr/bin/env python3
"""An hour of mixed load: does anything of the host grow?

    python3 bench/mixed [--minutes 60] [--warm-up 30] [--rate 2] [--trouble 10] [--fanfare PROGRAM] [--results FOLDER]

Starts the program with guests of the tests, and uses everything at once, at a moderate rate: live
streams that come, go and resume, plain WebSockets, clients of SocketCluster, channels with history
and presence, sessions, users and groups, the event service, subscriptions, schedules, broadcasts,
RPC and HTTP. Every name is new: keys, channels, users, groups, types, idempotency keys. Meanwhile
there is a swap and a crash every 10 seconds (`--trouble`), and a kill after each six of them.

Every answer is checked. A call may fail only with `crashed`, while its module crashes or is killed
at once. Samples the process every 10 seconds, writes `bench/results/mixed.jsonl` and
`bench/results/mixed.json`, and fails if a call has failed or something has grown.
"""
import argparse, asyncio, itertools, json, os, sys, tempfile, time
from pathlib import Path

from host import ROOT, Host, free_port
from ledger import Ledger
from load import Loads
from trouble import Trouble

EVERY = 10.0

class Run(Host, Loads, Trouble):
    def __init__(self, options):
        self.options, self.ledger, self.number = options, Ledger(), itertools.count(1)
        self.dir = Path(tempfile.mkdtemp(prefix="fanfare-mixed-"))
        self.http, self.admin, self.events = [("127.0.0.1", free_port()) for _ in range(3)]
        self.manifests, self.versions = {}, itertools.count(1)
        self.stop = False

    async def run(self):
        self.start()
        keys = [f"streams/steady-{n}" for n in range(3)]
        self.unknown = {key: set() for key in keys}
        loads = [self.requests(), self.requests(), self.rpc(), self.broadcasts(), self.short_streams(),
                 self.sessions(), self.channels(), self.steady_members(), self.emits(), self.subscribers(),
                 self.subscribers(), self.dynamic(), self.swaps(), self.crashes(), self.kills()]
        loads += [self.steady_stream(key, restless) for key in keys for restless in (False, True)]
        loads += [self.steady_socket() for _ in range(5)]
        tasks = [asyncio.create_task(load) for load in loads]
        await asyncio.sleep(0.5)
        tasks += [asyncio.create_task(self.steady_publisher(key)) for key in keys]
        begun, samples = time.monotonic(), []
        raw = open(self.options.raw, "w")
        while time.monotonic() - begun < self.options.minutes * 60:
            await asyncio.sleep(EVERY - (time.monotonic() - begun) % EVERY)
            samples.append(await self.sample(begun))
            raw.write(json.dumps(samples[-1]) + "\n")
            raw.flush()
            for task in tasks:
                if task.done(): self.ledger.fail("load", f"a load has ended: {task.exception()!r}")
            tasks = [task for task in tasks if not task.done()]
            if len(samples) % 6 == 0:
                show = {key: samples[-1][key] for key in ("seconds", "rssKiB", "descriptors", "threads", "cpuSeconds")}
                print(show, f"{sum(self.ledger.done.values())} done, {len(self.ledger.failed)} failed", flush=True)
            if self.process.poll() is not None: sys.exit(f"the host has ended: {self.dir}/log")
        self.stop = True
        schedules = json.loads((await self.operator("GET", "/v1/schedules"))[1])
        subscriptions = json.loads((await self.operator("GET", "/v1/subscriptions"))[1])
        status = json.loads((await self.operator("GET", "/v1/status"))[1])
        for task in tasks: task.cancel()
        self.process.terminate()
        self.process.wait(30)
        return samples, {"schedules": schedules, "subscriptions": subscriptions, "status": status}

def median(values):
    values = sorted(values)
    return values[len(values) // 2]

def slope(points):
    """Least squares: the change in an hour."""
    n = len(points)
    mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    return 3600 * sum((x - mx) * (y - my) for x, y in points) / sum((x - mx) ** 2 for x, _ in points)

def judge(samples, warm_up):
    """Compares the first ten minutes after the warm-up with the last ten, by their medians."""
    after = [one for one in samples if one["seconds"] >= warm_up * 60]
    part = min(60, len(after) // 2)
    rows = []
    for key, most in [("rssKiB", 0.02), ("anonKiB", 0.05), ("descriptors", 0.02), ("threads", 0), ("mappings", 0.02),
                      ("metricLines", 0.01)]:
        first, last = (median([one[key] for one in some]) for some in (after[:part], after[-part:]))
        per_hour = round(slope([(one["seconds"], one[key]) for one in after]), 1)
        # Two more of something that is counted may be in use at the moment of a sample.
        is_flat = last <= first * (1 + most) + (0 if key.endswith("KiB") else 2)
        rows.append({"what": key, "first": first, "last": last, "perHour": per_hour, "most": most, "flat": is_flat})
    return rows

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--warm-up", type=float, default=30)
    parser.add_argument("--fanfare", default=str(ROOT / "target/release/fanfare"))
    parser.add_argument("--rate", type=float, default=2, help="divides all pauses of the loads")
    parser.add_argument("--trouble", type=float, default=10, help="the seconds between two swaps, and two crashes")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results")
    options = parser.parse_args()
    results = options.results
    results.mkdir(parents=True, exist_ok=True)
    options.raw = results / "mixed.jsonl"
    os.nice(5)
    run = Run(options)
    try:
        samples, end = asyncio.run(run.run())
    finally:
        run.process.kill()
    rows = judge(samples, options.warm_up)
    end.pop("status")
    report = {"name": "mixed", "minutes": options.minutes, "warmUp": options.warm_up, "rows": rows,
              "done": run.ledger.done, "crashed": run.ledger.crashed, "failed": run.ledger.failed, **end}
    (results / "mixed.json").write_text(json.dumps(report, indent=1) + "\n")
    for row in rows: print(row)
    print(json.dumps({"done": run.ledger.done, "crashed": run.ledger.crashed}, indent=1))
    lost = [one for one in end["subscriptions"] if one.get("dropped") or one.get("missed")]
    lost += [one for one in end["schedules"] if one.get("missed")]
    print("lost:", lost, "results:", results)
    sys.exit(1 if run.ledger.failed or lost or not all(row["flat"] for row in rows) else 0)

if __name__ == "__main__":
    main()
