"""What was measured, as a table on stdout and a page with plots."""

import statistics
from html import escape

import plots

SESSIONS, LONG = 50, 100

# Which ratio is to be reached: (scenario, connections or None for all, rival, at least).
GOALS = (
    ("list", None, "limit", 0.75),
    ("list", None, "express", 20),
    ("list", None, "sqlite", 2),
    ("history", None, "limit", 0.75),
    ("history", None, "express", 20),
    ("history", None, "sqlite", 2),
    ("save", 1, "sqlite", 1),
    ("save", 1, "express", 1),
    ("save", 32, "sqlite", 1),
    ("save", 32, "express", 25),
    ("save", 256, "sqlite", 1),
    ("unchanged", None, "limit", 0.9),
)

TITLES = {
    "list": "A user's list of 50 sessions",
    "history": "A session's history of 100 messages",
    "save": "Saving a message",
    "unchanged": "A list that is unchanged since (304)",
}


class Cell:
    """The runs of one rival in one scenario with so many connections: medians, with the spread."""

    def __init__(self, runs):
        rates = [run["requests"] / run["seconds"] for run in runs]
        middle = lambda values: statistics.median(list(values))
        self.rate, self.least, self.most = middle(rates), min(rates), max(rates)
        self.p50 = middle(run["p50_ms"] for run in runs)
        self.p99 = middle(run["p99_ms"] for run in runs)
        self.cpu = middle(run["cpu"] / run["requests"] * 1000 for run in runs)
        self.memory = middle(run["memory"] for run in runs)


def cells(results):
    """The cells by scenario, connections and rival, in the order in which they were measured."""
    runs = {}
    for result in results:
        key = (result["scenario"], result["connections"], result["rival"])
        runs.setdefault(key, []).append(result)
    return {key: Cell(found) for key, found in runs.items()}


def rows(table, facts):
    labels = {rival["name"]: rival["label"] for rival in facts["rivals"]}
    order = list(labels)
    for scenario in TITLES:
        keys = [key for key in table if key[0] == scenario]
        for _, connections, name in sorted(keys, key=lambda key: (key[1], order.index(key[2]))):
            cell = table[scenario, connections, name]
            spread = f"{cell.least:,.0f}–{cell.most:,.0f}"
            yield (scenario, str(connections), labels[name], f"{cell.rate:,.0f}", spread,
                   f"{cell.p50:.2f}", f"{cell.p99:.2f}", f"{cell.cpu:.3f}",
                   f"{cell.memory / 2**20:,.0f}")


HEAD = ("scenario", "connections", "server", "requests/s", "spread", "p50 ms", "p99 ms",
        "CPU s per 1,000", "memory MiB")


def messages(facts):
    return facts["users"] * (SESSIONS // 10 * LONG + SESSIONS - SESSIONS // 10)


def disk_rows(facts):
    count = messages(facts)
    for rival in facts["rivals"]:
        if rival["name"] != "limit":
            yield (rival["label"], f"{rival['disk'] / 2**20:,.0f}", f"{rival['disk'] / count:,.0f}")


DISK_HEAD = ("server", "MiB on disk", "bytes per message")


def goal_rows(table):
    for scenario, wanted, name, least in GOALS:
        for (found, connections, rival), cell in table.items():
            ours = table.get((scenario, connections, "orion-chat"))
            if (found, rival) == (scenario, name) and wanted in (None, connections) and ours:
                ratio = ours.rate / cell.rate
                verdict = "reached" if ratio >= least else "missed"
                yield scenario, str(connections), name, f"{ratio:.2f}", f"{least:g}", verdict


GOAL_HEAD = ("scenario", "connections", "orion-chat over", "ratio", "goal", "")


def text(head, lines):
    """A table in Markdown, which reads well as it is."""
    lines = [head, *lines]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    shown = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths)) + " |" for line in lines]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(shown)


def about(facts):
    return (f"{facts['version']}, {facts['date']}, {facts['machine']}. {facts['users']:,} users with "
            f"{SESSIONS} sessions each, every tenth of {LONG} messages, {messages(facts):,} messages; "
            f"drawn at random for every request. Medians of {facts['rounds']} runs of "
            f"{facts['seconds']} s. By: {facts['command']}")


def tell(facts, results, page):
    table = cells(results)
    tables = (
        ("Measured", HEAD, list(rows(table, facts))),
        ("On disk, filled and before the first run", DISK_HEAD, list(disk_rows(facts))),
        ("Goals", GOAL_HEAD, list(goal_rows(table))),
    )
    print(f"\n{about(facts)}")
    for title, head, lines in tables:
        if lines:
            print(f"\n{title}\n\n{text(head, lines)}")
    page.write_text(html(facts, table, tables))
    print(f"\nwith plots: {page}")


def html(facts, table, tables):
    parts = [plots.HEAD, "<h1>orion-chat, side by side</h1>", f"<p>{escape(about(facts))}</p>"]
    for scenario, title in TITLES.items():
        found = {key[1:]: cell for key, cell in table.items() if key[0] == scenario}
        if found:
            parts.append(f"<h2>{escape(title)}</h2>")
            parts.append(plots.bars("requests per second", found, facts, plots.rate))
            parts.append(plots.bars("time of 99 of 100 answers, ms", found, facts, plots.p99))
            parts.append(plots.bars("CPU seconds per 1,000 requests", found, facts, plots.cpu))
    for title, head, lines in tables:
        cell = lambda tag, texts: "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
        body = "".join(f"<tr>{cell('td', line)}</tr>" for line in lines)
        parts.append(f"<h2>{title}</h2><table><tr>{cell('th', head)}</tr>{body}</table>")
    notes = [f"<li>{escape(r['label'])}: {escape(r['note'])}</li>" for r in facts["rivals"] if r["note"]]
    parts.append(f"<h2>How each is set up</h2><ul>{''.join(notes)}</ul>")
    return "\n".join(parts) + "\n</html>\n"
