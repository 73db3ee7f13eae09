"""What a rival costs: the processor time and memory of all its processes, and its room on disk."""

import os
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def stat(pid):
    """The parent of a process, and its processor time in seconds with that of its past children."""
    text = Path(f"/proc/{pid}/stat").read_text()
    # The name, which may hold anything, is in parentheses.
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[1]), sum(int(field) for field in fields[11:15]) / TICKS


def processes(roots):
    """The processes `roots` and all that they started, with the processor time of each."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found[int(entry)] = stat(entry)
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has ended
    family = {pid for pid in roots if pid in found}
    while more := {pid for pid, (parent, _) in found.items() if parent in family} - family:
        family |= more
    return {pid: found[pid][1] for pid in family}


def cpu_seconds(roots):
    return sum(processes(roots).values())


def memory(roots):
    """Resident bytes, those that several processes share counted once."""
    total = 0
    for pid in processes(roots):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total * 1024


def wait_until_idle(roots, patience):
    """Waits until less than a twentieth of a core is used for a second: what a rival puts off is a
    cost of what it was asked for, and must not fall on the next."""
    end = time.monotonic() + patience
    quiet, before = 0, cpu_seconds(roots)
    while quiet < 2 and time.monotonic() < end:
        time.sleep(0.5)
        now = cpu_seconds(roots)
        quiet = quiet + 1 if now - before < 0.025 else 0
        before = now


def disk(folder):
    """Bytes that the files in `folder` take up."""
    files = (path.lstat() for path in Path(folder).rglob("*"))
    return sum(found.st_blocks * 512 for found in files)
