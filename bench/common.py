"""What the jobs share: processes, their time and memory, tables and results."""

import json
import math
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
START_SECONDS_MAX = 120
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
POSTGRES_BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda path: int(path.parent.name))


def cpu_seconds(pid: int, with_children: bool = False) -> float:
    """User and system time of a process, of its children too if asked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(map(int, fields[11:15] if with_children else fields[11:13]))
    below = of_living(cpu_seconds, children(pid)) if with_children else []
    return ticks / TICKS_PER_SECOND + sum(below)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def of_living(ask: Callable[[int], float], pids: list[int]) -> list[float]:
    """Asks about each process, but for those that end meanwhile."""
    found = []
    for pid in pids:
        try:
            found.append(ask(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def memory_mib(pid: int, name: str = "VmRSS") -> float:
    """VmRSS (now), VmHWM (peak), or of what is there now RssAnon (what it holds) and RssFile (pages of the program's own file)."""
    return int(re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def forget_peak(pid: int) -> None:
    """Has VmHWM begin anew at what there is now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextmanager
def watched_peak(pid: int, name: str, every_seconds: float = 0.02) -> Iterator[list[float]]:
    """The greatest value seen of what has no peak in the system's books, as the only item of the list."""
    peak, done = [memory_mib(pid, name)], threading.Event()

    def watch() -> None:
        while not done.wait(every_seconds):
            peak[0] = max(peak[0], memory_mib(pid, name))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def proportional_mib(pid: int) -> float:
    """Memory of a process; what it shares with others by its part."""
    return int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)[1]) / 1024


@dataclass
class Ended:
    """What a process took from start to end."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    printed: str


def measure(command: list[str], environment: dict[str, str] | None = None) -> Ended:
    """Runs one process to its end; a failure of it ends everything."""
    report, write = os.pipe()
    environment = {**(os.environ if environment is None else environment), "REPORT_FD": str(write)}
    starter = [sys.executable, "-S", Path(__file__).parent / "measured.py"]
    ended = subprocess.run([*starter, *command], capture_output=True, text=True, env=environment, pass_fds=[write])
    os.close(write)
    with os.fdopen(report) as took:
        told = took.read()
    if ended.returncode != 0 or not told:
        command_text = " ".join(map(str, command[:6]))
        sys.exit(f"{command_text} … ended with {ended.returncode}\n{ended.stderr}{ended.stdout}")
    return Ended(*json.loads(told), ended.stdout)


def run_job(name: str, job: Callable[[Path, list], None]) -> None:
    """Runs the job in a temporary folder; what it put into the list of things to close is ended in any case."""
    print(f"{name} on {machine()}")
    opened: list = []
    with tempfile.TemporaryDirectory(prefix="apportion-bench-") as folder:
        try:
            job(Path(folder), opened)
        finally:
            for one in opened:
                one.close()


def machine() -> str:
    models = re.findall(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} × {models[0] if models else platform.machine()}, load {load:.1f} before the start"


def versions() -> dict[str, str]:
    """Of everything that is measured and can be asked."""
    import duckdb

    ours = subprocess.run([os.environ["APPORTION_BIN"], "version"], capture_output=True, text=True, check=True).stdout
    found = {
        "version": ours.splitlines()[0],
        "profile": os.environ.get("PROFILE", "release"),
        "duckdb": duckdb.__version__,
    }
    if POSTGRES_BIN is not None:
        text = subprocess.run([POSTGRES_BIN / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
        found["postgresql"] = text.split()[2]
    return found


def check_equal(what: str, answers: dict[str, object]) -> None:
    """Ends everything unless all answers are the same."""
    if len(set(answers.values())) != 1:
        told = ", ".join(f"{name} {answer}" for name, answer in answers.items())
        sys.exit(f"{what} differ: {told}: no times are printed for a wrong answer")
    print(f"answers agree: {what} {next(iter(answers.values()))} ({', '.join(answers)})")


def print_table(title: str, columns: list[str], rows: list[tuple]) -> None:
    """Numbers to the right, each with as many digits as say something."""
    shown = [[str(name), *map(number_text, values)] for name, *values in rows]
    width = max(len(title), *(len(row[0]) for row in shown)) + 2
    widths = [max(len(column), *(len(row[at + 1]) for row in shown)) + 2 for at, column in enumerate(columns)]
    print(f"\n{title:<{width}}" + "".join(f"{column:>{size}}" for column, size in zip(columns, widths, strict=True)))
    for name, *values in shown:
        print(f"{name:<{width}}" + "".join(f"{value:>{size}}" for value, size in zip(values, widths, strict=True)))


def number_text(value: object) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value if value is not None else "")
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


def exponent(points: list[tuple[float, float]]) -> float | None:
    """Returns b of y = a·xᵇ, by least squares of the logarithms; `None` for fewer than three points."""
    if len(points) < 3:
        return None
    return statistics.linear_regression([math.log(x) for x, _ in points], [math.log(y) for _, y in points]).slope


def verdict(*met: bool) -> str:
    return "met" if all(met) else "MISSED"


def append_result(job: str, values: dict) -> None:
    """Appends one line to `results/`, unless RECORD=no says that the machine was not quiet enough to keep it."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    row = rounded({"at": at, "job": job, "load": os.getloadavg()[0], **versions(), **values})
    if os.environ.get("RECORD", "yes") == "no":
        print("not appended to bench/results (RECORD=no)")
        return
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{job.lower()}.jsonl"
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(f"appended to bench/results/{path.name}")


def rounded(value: object) -> object:
    """Four fractional digits, in lists and objects as well."""
    match value:
        case float():
            return round(value, 4)
        case dict():
            return {name: rounded(item) for name, item in value.items()}
        case list() | tuple():
            return [rounded(item) for item in value]
    return value


def check_free_space(folder: Path, bytes_needed: int) -> None:
    """Ends everything before a disk gets full."""
    if shutil.disk_usage(folder).free < bytes_needed:
        sys.exit(f"{folder} has less than {bytes_needed / 2**30:.0f} GiB free; set TMPDIR or smaller sizes")
