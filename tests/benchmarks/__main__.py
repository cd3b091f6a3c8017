"""`python -m tests.benchmarks`: measures everything in turns, prints one table, and writes the page of it.

It needs some ten minutes and a machine with nothing else to do.
"""

import argparse
import signal
import sys
from types import ModuleType

from rich.console import Console

from tests.benchmarks import bench, machine, report
from tests.benchmarks.figures import appends, audit, cards, growth, stamps, tables
from tests.benchmarks.measuring import Figure

GROUPS: dict[str, ModuleType] = {module.NAME: module for module in (appends, stamps, cards, tables)}
ROUNDS, SECONDS = 3, 3
QUICK_ROUNDS, QUICK_SECONDS = 1, 2
CARDS, EVENTS = 1_000_000, 10_000_000
AUDITED_EVENTS = 1_000_000


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that servers are stopped.
    console = Console(width=None if sys.stdout.isatty() else 180)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    with bench.opened(rounds=rounds, seconds=seconds, is_quick=options.quick, console=console) as running:
        described = machine.described(running.disk("fast"))
        for topic, text in described:
            running.say(f"{topic}: {text}")
        figures: list[Figure] = []
        if options.audit:
            figures = audit.measure(running, events=AUDITED_EVENTS // (20 if options.quick else 1))
        elif options.scale:
            figures = growth.measure(running, cards=options.cards, events=options.events)
        else:
            for name in options.only or GROUPS:
                running.say(f"[bold]{name}[/bold]")
                figures += GROUPS[name].measure(running)
    report.show(figures, console)
    is_whole = options.cards >= CARDS and options.events >= EVENTS if options.scale else not options.only
    if options.quick or not is_whole:
        return
    place = "audit" if options.audit else "scale" if options.scale else "figures"
    if place == "figures":
        report.write("machine", report.page_machine(described, f"{rounds} rounds, windows of {seconds} s"))
    report.write(place, report.page_table(figures))
    console.print(f"Written to {report.PAGE}.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, short windows, fewer figures; writes no page")
    parser.add_argument("--only", action="append", choices=list(GROUPS), help="this group of figures; writes no page")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}")
    parser.add_argument("--seconds", type=int, help=f"of each window; default {SECONDS}")
    parser.add_argument(
        "--scale", action="store_true", help="measure at --cards and --events instead; fewer write no page"
    )
    parser.add_argument("--audit", action="store_true", help="measure verifying and checking a million events instead")
    parser.add_argument("--cards", type=int, default=CARDS, help="default 1 000 000")
    parser.add_argument("--events", type=int, default=EVENTS, help="default 10 000 000")
    return parser.parse_args()


if __name__ == "__main__":
    main()
