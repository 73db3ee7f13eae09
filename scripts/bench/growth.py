"""How cost grows with what is stored. Run by ../bench-growth.sh, which see."""

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import cost
import report
from load import Load
from main import HERE, ROOT, machine, stop_when_told
from rivals import OrionChat

MESSAGES_OF_USER = 545  # 5 sessions of 100 messages, and 45 of one
# What is asked, with how many connections: few for the time that it takes, some for the rate.
ASKED = ("list", "page", "save", "search")
OF_ONE = ("wide-list", "wide-save", "wide-search", "deep-page", "deep-save", "deep-search")
THIRD = 1.34
# In seconds, whatever the size.
START_AFTER_KILL = 1


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench-growth.sh", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look whether it works: no figures")
    parser.add_argument("--seconds", type=int, default=6, help="how long each is asked [6]")
    parser.add_argument("--rounds", type=int, default=3, help="how often [3]")
    options = parser.parse_args()
    options.messages = [10_000, 1_000_000, 10_000_000]
    options.sessions, options.deep, options.listeners = 100_000, 1_000_000, [1, 100, 5000]
    if options.quick:
        options.messages, options.seconds, options.rounds = [6_000, 12_000], 3, 1
        options.sessions, options.deep, options.listeners = 500, 1_000, [1, 100]
    return options


class Service(OrionChat):
    """orion-chat with a file of its own, whose starts and stops are timed."""

    def __init__(self, setup, name):
        self.name = name
        super().__init__(setup)

    def seed_one(self, what, count):
        """One user with `count` sessions, or one session with `count` messages."""
        self.run(self.setup.programs / "seed", what, self.address, count)

    def start_time(self):
        began = time.monotonic()
        self.start()
        host, port = self.address.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        connection.request("GET", "/ready")
        status = connection.getresponse().status
        if status != 200:
            raise SystemExit(f"FAILED: it is not ready: {status}")
        return time.monotonic() - began

    def kill(self):
        self.running[0].send_signal(signal.SIGKILL)
        self.running[0].wait()
        self.running = []

    def backup_time(self):
        target = self.folder / "backup.redb"
        command = [self.setup.orion_chat, "backup", target, "--data", self.folder / "orion-chat.redb"]
        began = time.monotonic()
        self.run(*command)
        took = time.monotonic() - began
        target.unlink()
        return took


def times(options, service, load, scenario):
    """The time of half the answers to one caller, and the rate of 32."""
    runs = []
    for number in range(options.rounds):
        alone = load.run(service, scenario, 1, options.seconds, seed=number + 1)
        crowd = load.run(service, scenario, 32, options.seconds, seed=number + 1)
        cost.wait_until_idle(service.roots, 20)
        runs.append((alone["p50_ms"], crowd["requests"] / crowd["seconds"]))
    return tuple(statistics.median(column) for column in zip(*runs))


def of_file(options, service, load, saves):
    """What follows the file as a whole, by its name; it is stopped then."""
    figures = {"backup, s": service.backup_time(), "memory, MiB": cost.memory(service.roots) / 2**20}
    figures["file, MiB"] = cost.disk(service.data) / 2**20
    clean, killed = restarts(service, load, options, saves)
    figures["start after a clean stop, s"], figures["start after kill -9 in writes, s"] = clean, killed
    service.stop()
    return figures


def restarts(service, load, options, saves):
    """Seconds to the first answer after a clean stop, and after a kill in the midst of writes."""
    service.stop()
    clean = service.start_time()
    writing = threading.Thread(target=lambda: load.until_gone(service, saves, 32, options.seconds))
    writing.start()
    time.sleep(options.seconds / 2)
    if not writing.is_alive():
        raise SystemExit("FAILED: nothing was written when the server was to be killed")
    service.kill()
    writing.join()
    return clean, service.start_time()


def of_size(options, setup, messages):
    """Every figure of a file with so many messages, by its name."""
    setup.users = max(messages // MESSAGES_OF_USER, 1)
    service = Service(setup, f"growth-{messages}")
    setup.started.append(service)
    load = Load(setup.programs, HERE, setup.work, setup.users)
    for old in setup.work.glob("rest-*.requests"):
        old.unlink()
    service.prepare()
    cost.wait_until_idle(service.roots, 60)
    figures = {}
    for scenario in ASKED:
        alone, crowd = times(options, service, load, scenario)
        figures[f"{scenario}, ms"], figures[f"{scenario}, 1/s by 32"] = alone, crowd
    return figures | of_file(options, service, load, "save")


def of_one(options, setup):
    """One user's list of many sessions, and one session of many messages, beside small ones."""
    figures = {}
    for size, sessions, messages in (("small", 50, 100), ("large", options.sessions, options.deep)):
        setup.users = 1
        service = Service(setup, f"growth-{size}")
        setup.started.append(service)
        service.prepare()
        service.seed_one("wide", sessions)
        service.seed_one("deep", messages)
        cost.wait_until_idle(service.roots, 60)
        load = Load(setup.programs, HERE, setup.work, sessions)
        for old in setup.work.glob("rest-*.requests"):
            old.unlink()
        for scenario in OF_ONE:
            alone, crowd = times(options, service, load, scenario)
            figures.setdefault(f"{scenario}, ms", []).append(alone)
            figures.setdefault(f"{scenario}, 1/s by 32", []).append(crowd)
        if size == "large":
            figures["listeners"] = listeners(options, service)
        for name, value in of_file(options, service, load, "wide-save").items():
            figures.setdefault(name, []).append(value)
    return figures


def listeners(options, service):
    """Milliseconds until a save has reached the last of so many WebSockets."""
    found = {}
    for count in options.listeners:
        command = [service.setup.programs / "listen", service.address, str(count), "20"]
        output = subprocess.run(command, capture_output=True, check=True).stdout
        found[count] = statistics.median(json.loads(output))
    return found


def rows(figures):
    """A row for each figure: one value for each size, and the last against the first."""
    for name in figures[0]:
        values = [found[name] for found in figures]
        ratio = values[0] / values[-1] if "1/s" in name else values[-1] / values[0]
        verdict = "reached" if ratio <= THIRD else "missed"
        # A search looks through all that its user ever said.
        if name.startswith(("backup", "file", "deep-search")):
            verdict = "by nature"
        if name.startswith("start after kill"):
            verdict = f"{'reached' if values[-1] < START_AFTER_KILL else 'missed'}: under {START_AFTER_KILL} s"
        yield (name, *(f"{value:,.4g}" for value in values), f"{ratio:.2f}", verdict)


def main():
    options = arguments()
    stop_when_told()
    work = ROOT / "target" / "bench"
    orion_chat = Path(os.environ.get("ORION_CHAT") or ROOT / "dist" / "orion-chat").resolve()
    setup = SimpleNamespace(here=HERE, work=work, keep=False, started=[], sizes={}, users=0,
                            programs=work / "cargo" / "release", orion_chat=orion_chat)
    print(f"{machine()}\nscripts/bench-growth.sh {' '.join(sys.argv[1:])}", flush=True)
    try:
        figures = []
        for messages in options.messages:
            figures.append(of_size(options, setup, messages))
            print(f"measured with {messages:,} messages", flush=True)
        ones = of_one(options, setup)
    finally:
        for service in setup.started:
            service.stop()
    sizes = [f"{messages:,} messages" for messages in options.messages]
    print("\n" + report.text(("", *sizes, "grows", ""), list(rows(figures))))
    reached = ones.pop("listeners")
    beside = [{name: pair[n] for name, pair in ones.items()} for n in (0, 1)]
    head = ("of one", "50 sessions, 100 messages",
            f"{options.sessions:,} sessions, {options.deep:,} messages", "grows", "")
    print("\n" + report.text(head, list(rows(beside))))
    told = [(f"{count:,}", f"{took:.1f}") for count, took in reached.items()]
    print("\n" + report.text(("WebSockets of a user", "ms from a save to the last"), told))


if __name__ == "__main__":
    main()
