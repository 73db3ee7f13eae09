"""Measures orion-chat beside what one would use instead. Run by ../bench.sh, which see."""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cost
import report
from load import Load
from rivals import RIVALS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SCENARIOS = ("list", "history", "save", "unchanged")


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench.sh", description=__doc__)
    split = lambda text: text.split(",")
    numbers = lambda text: [int(number) for number in text.split(",")]
    names = [rival.name for rival in RIVALS]
    parser.add_argument("--quick", action="store_true", help="a look whether it works: no figures")
    parser.add_argument("--only", type=split, help=f"scenarios, of {','.join(SCENARIOS)}")
    parser.add_argument("--rivals", type=split, help=f"of {','.join(names)}")
    parser.add_argument("--connections", type=numbers, help="how many, with commas [1,32,256]")
    parser.add_argument("--rounds", type=int, help="how often each is measured [5]")
    parser.add_argument("--seconds", type=int, help="how long each time [6]")
    parser.add_argument("--users", type=int, help="with 50 sessions each [10000]")
    parser.add_argument("--keep", action="store_true", help="take the data of the last run")
    options = parser.parse_args()
    full = {"connections": [1, 32, 256], "rounds": 5, "seconds": 6, "users": 10_000}
    quick = {"connections": [32], "rounds": 1, "seconds": 1, "users": 100}
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.only = known(parser, "--only", options.only, SCENARIOS)
    options.rivals = known(parser, "--rivals", options.rivals, names)
    return options


def known(parser, flag, given, all_names):
    """Those of `all_names` that were given, in their order; all if none were."""
    for name in given or ():
        if name not in all_names:
            parser.error(f"{flag} does not know {name}; there are {', '.join(all_names)}")
    return [name for name in all_names if name in (given or all_names)]


def prepare(options, setup, load):
    """Starts and fills the rivals, and looks whether all give the same answers."""
    rivals, answers = [], {}
    for rival in [make(setup) for make in RIVALS if make.name in options.rivals]:
        began = time.monotonic()
        rivals.append(rival)
        setup.started.append(rival)
        rival.prepare()
        cost.wait_until_idle(rival.roots, 5 if options.quick else 60)
        rival.disk = cost.disk(rival.data)
        check(rival, load, setup, answers)
        print(f"{rival.name} is ready after {time.monotonic() - began:.0f} s", flush=True)
    return rivals


def check(rival, load, setup, answers):
    """What is measured must be the same thing: the same rows, in the same order."""
    if rival.name == "limit":
        return
    for scenario in ("list", "history"):
        status, body = load.one(rival, scenario, seed=7)
        setup.sizes.setdefault(scenario, len(body))
        rows = next(iter(v for v in json.loads(body).values() if isinstance(v, list)), None)
        shown = [row.get("content", row.get("title")) for row in rows or ()]
        # A list's order follows when something was last said, which was in another order for each.
        shown = sorted(shown) if scenario == "list" else shown
        expected = answers.setdefault(scenario, shown)
        if status != 200 or not shown or shown != expected:
            raise SystemExit(f"FAILED: {rival.name} gives another {scenario}: {status} {body[:300]}")


def measure(options, rivals, load):
    """Each rival in turn, in every round in another order."""
    results = []
    for number in range(options.rounds):
        turn = rivals[number % len(rivals) :] + rivals[: number % len(rivals)]
        for scenario in options.only:
            for connections in options.connections:
                for rival in [rival for rival in turn if scenario in rival.scenarios]:
                    result = measure_one(options, rival, load, scenario, connections, number)
                    results.append(result)
                    rate = result["requests"] / result["seconds"]
                    print(f"round {number + 1}: {scenario}, {connections} connections, "
                          f"{rival.name}: {rate:,.0f}/s", flush=True)
    return results


def measure_one(options, rival, load, scenario, connections, number):
    before = cost.cpu_seconds(rival.roots)
    result = load.run(rival, scenario, connections, options.seconds, seed=number + 1)
    memory = cost.memory(rival.roots)
    cost.wait_until_idle(rival.roots, 3 if options.quick else 20)
    if scenario == "unchanged" and result["bytes"] / result["requests"] > 2000:
        raise SystemExit(f"FAILED: {rival.name} does not answer 304 but sends what is unchanged")
    cpu = cost.cpu_seconds(rival.roots) - before
    place = {"rival": rival.name, "scenario": scenario, "connections": connections}
    return place | result | {"cpu": cpu, "memory": memory}


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo")
                  if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (f"{os.cpu_count()} × {model}, {memory:.0f} GiB, Linux {platform.release()}, "
            f"shared with the load generator; load {load:.1f} before the start")


def stop_when_told():
    """Ends on SIGTERM as on Ctrl-C: what was started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def main():
    options = arguments()
    stop_when_told()
    work = ROOT / "target" / "bench"
    work.mkdir(parents=True, exist_ok=True)
    for old in work.glob("*.requests"):
        old.unlink()
    setup = SimpleNamespace(
        here=HERE, work=work, users=options.users, keep=options.keep, started=[],
        programs=work / "cargo" / "release", sizes={},
        orion_chat=Path(os.environ.get("ORION_CHAT") or ROOT / "dist" / "orion-chat").resolve(),
    )
    load = Load(setup.programs, HERE, work, options.users)
    facts = {
        "machine": machine(), "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(["scripts/bench.sh", *sys.argv[1:]]), "users": options.users,
        "rounds": options.rounds, "seconds": options.seconds,
        "version": subprocess.run([setup.orion_chat, "--version"], capture_output=True, text=True,
                                  check=True).stdout.splitlines()[0],
    }
    try:
        if "orion-chat" not in options.rivals:
            setup.sizes = {"list": 21_000, "history": 37_000}
        rivals = prepare(options, setup, load)
        results = measure(options, rivals, load)
        facts["rivals"] = [
            {"name": rival.name, "label": rival.label, "note": rival.note, "disk": rival.disk}
            for rival in rivals
        ]
    finally:
        for rival in reversed(setup.started):
            rival.stop()
    (work / "results.json").write_text(json.dumps({"facts": facts, "results": results}))
    report.tell(facts, results, work / "report.html")


if __name__ == "__main__":
    main()
