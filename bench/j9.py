"""J9: restatement by 1,000 late reads over histories of 30 to 730 days.

Each history is imported and attributed first. Then late reads come, on a fixed number of days spread evenly over it, and
`attribute --due` runs. The same number of days and cells is touched in every history, each by as many reads and as far from
the next that it runs by itself: whatever grows is due to the history. What it takes is divided by the cells of the days that
ran. The same command with nothing due is timed as well and subtracted, so that the start of the process does not hide growth.
The least of some rounds counts. What the ledger says of each day must be what the gathers of that day cost, and only days
that a late read can reach may run.
"""

import os
import sys
from pathlib import Path

from common import append_result, exponent, print_table, run_job, verdict
from windows import DAY, GATHERS, READS, WORKFLOWS, Store, histories, read

LATE = int(os.environ.get("LATE", 1_000))
DAYS_LATE, ROUNDS = 7, 3
EXPONENT_MAX, SPREAD_MAX = 0.05, 1.2


def job(folder: Path, opened: list) -> None:
    rows, points = [], []
    for days in histories():
        store = Store(folder / f"history-{days}", days)
        took, ran = [], 0
        for number in range(ROUNDS):
            idle, _ = store.attribute_due()
            touched = late(store, number)
            ended, ran = store.attribute_due()
            check(store, touched, ran)
            took.append((ended.cpu_seconds - idle.cpu_seconds, ended, idle))
        net, ended, idle = min(took, key=lambda round: round[0])
        cells = ran * min(WORKFLOWS, READS)
        each = max(net, 1e-9) / cells
        rows.append((f"{days} days", ran, ended.seconds, ended.cpu_seconds, idle.cpu_seconds, each * 1e6))
        points.append((float(days), each))
    report(rows, points)


def late(store: Store, number: int) -> int:
    """Sends late reads; returns how many days they can move."""
    ordinals = [(2 * place + 1) * store.days // (2 * DAYS_LATE) for place in range(DAYS_LATE)]
    lines = []
    for at in range(LATE):
        spread = (number * LATE + at) * 0x9E3779B97F4A7C15 % 2**64
        day = store.first + ordinals[at % DAYS_LATE] * DAY
        lines.append(read(day, spread % GATHERS, f"late-{number}-{at}", spread // GATHERS))
    store.add("late", iter(lines))
    return len({reached for ordinal in ordinals for reached in range(ordinal - 1, ordinal + 2)})


def check(store: Store, touched: int, ran: int) -> None:
    if not DAYS_LATE <= ran <= touched:
        sys.exit(f"{ran} days ran though late reads can move {touched}: no times are printed for a run of the wrong days")
    if store.balances() != store.costs():
        sys.exit("the ledger does not say what the gathers cost: no times are printed for a wrong answer")
    print(f"answers agree over {store.days} days; {ran} days ran")


def report(rows: list[tuple], points: list[tuple[float, float]]) -> None:
    title = f"J9, {LATE:,} late reads on {DAYS_LATE} days, {READS:,} reads a day, best of {ROUNDS}"
    print_table(title, ["days run", "wall s", "CPU s", "CPU s idle", "µs per (day, cell)"], rows)
    fitted = exponent(points)
    costs = [each for _, each in points]
    spread = max(costs) / min(costs)
    met = verdict(fitted is not None and fitted <= EXPONENT_MAX, spread <= SPREAD_MAX)
    print(
        f"\nthe cost of a touched (day, cell) grows with the {'?' if fitted is None else f'{fitted:.3f}'}th power of the history "
        f"(target ≤ {EXPONENT_MAX}), the dearest is {spread:.2f} × the cheapest (target ≤ {SPREAD_MAX}): {met}"
    )
    append_result("J9", {
        "late": LATE, "days_late": DAYS_LATE, "rounds": ROUNDS, "gathers": GATHERS, "reads": READS,
        "days": [int(days) for days, _ in points], "days_run": [row[1] for row in rows], "wall_seconds": [row[2] for row in rows], "cpu_seconds": [row[3] for row in rows],
        "idle_cpu_seconds": [row[4] for row in rows], "seconds_per_day_and_cell": costs, "exponent": fitted, "spread": spread,
        "target": met,
    })  # fmt: skip


if __name__ == "__main__":
    run_job("J9", job)
