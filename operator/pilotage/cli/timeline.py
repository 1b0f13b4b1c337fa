"""A simulated project as a timeline for the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pilotage.api.text import printable
from pilotage.cli.words import Language
from pilotage.plan.simulation import Lane, Simulation, Wait

CELLS: Final = 72
# Letters, not colours alone: a timeline is also printed and mailed.
SIGNS: Final = {
    "Pending": (" ", "dim"),
    "NotReady": (" ", "dim"),
    "Configuring": ("c", "cyan"),
    "Migrating": ("m", "cyan"),
    "Verifying": ("v", "cyan"),
    "Prepared": ("p", "yellow"),
    "CuttingOver": ("o", "yellow"),
    "Live": ("▒", "green"),
    "Stable": ("▓", "green"),
    "Accepted": ("█", "green"),
    "Failed": ("x", "bold red"),
    "Open": ("?", "bold yellow"),
    "Observing": ("━", "green"),
    "Passed": ("█", "green"),
    "Approved": ("█", "green"),
    "Waived": ("█", "green"),
}
UNKNOWN: Final = ("!", "bold red")


def timeline(found: Simulation, zone: tzinfo, say: Language) -> RenderableType:
    """Lanes over time, who was waited for, what happens when, and the projected date of acceptance."""
    table = Table(box=None, pad_edge=False, show_header=True)
    table.add_column("")
    table.add_column(_axis(found, zone), no_wrap=True)
    for lane in found.lanes.values():
        table.add_row(printable(lane.name, 60), _bar(found, lane))
    used = {span.state for lane in found.lanes.values() for span in lane.spans}
    legend = "  ".join(f"{sign} {state}" for state, (sign, _) in SIGNS.items() if state in used and sign.strip())
    return Group(
        table, Text(legend, style="dim"), Text(), _waits(found, say), Text(), _events(found, zone, say), Text(),
        _end(found, zone, say),
    )  # fmt: skip


def _cell(found: Simulation) -> timedelta:
    return max((found.ends - found.begins) / CELLS, timedelta(seconds=1))


def _axis(found: Simulation, zone: tzinfo) -> str:
    begins, ends = (f"{moment.astimezone(zone):%Y-%m-%d}" for moment in (found.begins, found.ends))
    return begins + ends.rjust(CELLS - len(begins))


def _bar(found: Simulation, lane: Lane) -> Text:
    """The state of each cell: the one that fills most of it, and a failure wherever there is one."""
    cell, bar = _cell(found), Text()
    for number in range(CELLS):
        begins = found.begins + number * cell
        shares: defaultdict[str, timedelta] = defaultdict(timedelta)
        for span in lane.spans:
            shares[span.state] += max(timedelta(), min(span.ends, begins + cell) - max(span.begins, begins))
        there = {state: share for state, share in shares.items() if share}
        state = "Failed" if "Failed" in there else max(there, key=there.__getitem__) if there else ""
        bar.append(*(SIGNS.get(state, UNKNOWN) if state else (" ", "")))
    if lane.spans[-1].begins == lane.spans[-1].ends:
        bar.append(*SIGNS.get(lane.spans[-1].state, UNKNOWN))
    return bar


def waited(waits: Sequence[Wait], ends: datetime) -> dict[str, tuple[int, timedelta]]:
    """By person: how often and how long altogether; who is waited for longest stands first."""
    found: dict[str, tuple[int, timedelta]] = {}
    for wait in waits:
        count, length = found.get(wait.who, (0, timedelta()))
        found[wait.who] = count + 1, length + (wait.answered or ends) - wait.asked
    return dict(sorted(found.items(), key=lambda entry: (-entry[1][1], entry[0])))


def _waits(found: Simulation, say: Language) -> Table:
    table = Table(*(say(title) for title in ("waited for", "times", "days")), box=None, pad_edge=False)
    for who, (count, length) in waited(found.waits, found.ends).items():
        table.add_row(printable(who, 60), str(count), f"{length / timedelta(days=1):.1f}")
    return table


def _events(found: Simulation, zone: tzinfo, say: Language) -> Table:
    table = Table(*(say(title) for title in ("when", "what")), box=None, pad_edge=False)
    before = ""
    for event in found.events:
        at = f"{event.at.astimezone(zone):%Y-%m-%d %H:%M}"
        table.add_row("" if at == before else at, printable(event.what, 300))
        before = at
    return table


def _end(found: Simulation, zone: tzinfo, say: Language) -> RenderableType:
    if found.accepted:
        days = (found.accepted - found.begins) / timedelta(days=1)
        text = say("accepted on", f"{found.accepted.astimezone(zone):%Y-%m-%d}", f"{days:.0f}")
        return Text(text, style="green")
    return Text("\n").join([Text(say("this would hold it"), style="bold red"), *map(Text, _held(found))])


def _held(found: Simulation) -> Iterator[str]:
    silent = [wait for wait in found.waits if wait.answered is None]
    yield from (printable(f"{wait.who} never answers: {wait.what}", 600) for wait in silent)
    yield from (printable(line, 600) for line in found.held)
