"""What was done, what failed, and when which module was in trouble."""
import time

class Ledger:
    """What was done, what failed, and when which module was in trouble."""
    def __init__(self):
        self.done, self.crashed, self.failed = {}, {}, []
        self.trouble = {}

    def count(self, what):
        self.done[what] = self.done.get(what, 0) + 1

    def fail(self, what, why):
        text = f"{time.strftime('%H:%M:%S')} {what}: {why}"
        print("FAILED", text, flush=True)
        self.failed.append(text)

    def begin(self, *modules):
        """Modules whose running calls may crash from now on, until `end`."""
        interval = [time.monotonic(), None]
        for module in modules:
            self.trouble.setdefault(module, []).append(interval)
        return interval

    def end(self, interval):
        interval[1] = time.monotonic()

    def excuses(self, module, since):
        """Whether a module was in trouble at some moment since then."""
        return any(end is None or end >= since for _, end in self.trouble.get(module, [])[-8:])

    def crash(self, what, modules, since, why):
        if any(self.excuses(module, since) for module in modules):
            self.crashed[what] = self.crashed.get(what, 0) + 1
        else:
            self.fail(what, why)
