"""`make soak`: new examples for the properties and new kill -9s for the budgets, for some minutes. What fails is kept.

A round is one file of properties, by hypothesis, then some seeds of the crash harnesses (budgets, log, server); rounds go on until the
time is over. What hypothesis finds stays in .hypothesis/ and is tried first at every later run; a seed of the budgets that fails goes to
tests/adversity/kill9_seeds.txt, which belongs in the repository.
"""

import argparse
import itertools
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from random import SystemRandom

PROPERTIES = sorted(Path("tests/property").glob("test_*.py"))
KILLS = [Path("tests/adversity") / f"test_kill9_{what}.py" for what in ("budgets", "log", "server")]
KEPT = Path("tests/adversity/kill9_seeds.txt")
FAILED = re.compile(r"^FAILED \S+::test_kills_of_(one_host|two_hosts)\w*\[(\d+)\]", re.MULTILINE)
ROUND_S = 3_600
"""A round that takes longer than this has hung: it is ended, and counts as failed."""


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--minutes", type=float, default=float(os.environ.get("HEADRACE_SOAK_MINUTES", "5")))
    asked.add_argument("--seeds", type=int, default=20, help="how many kill -9 seeds a round (default 20; 0: none)")
    asked.add_argument("--examples", type=int, default=2_000, help="how many examples a property and round (default 2000; 0: none)")
    asked.add_argument("--jobs", default="2", help="how many test processes at once (default 2)")
    told = asked.parse_args()
    if not (told.seeds or told.examples):
        asked.error("with --seeds 0 and --examples 0 nothing is left to do")
    until, chance = time.monotonic() + told.minutes * 60, SystemRandom()
    seeds = failures = 0
    files = itertools.cycle(chance.sample(PROPERTIES, len(PROPERTIES)))
    for round_number in itertools.count(1):
        if told.examples:
            file = next(files)
            whole, _ = _pytest([str(file)], told.jobs, HYPOTHESIS_PROFILE="soak", HEADRACE_SOAK_EXAMPLES=str(told.examples))
            failures += not whole
            _say(round_number, f"{file.stem}: {'held' if whole else 'FAILED, the example is in .hypothesis/'}")
        if told.seeds:
            first = chance.randrange(2**40)
            whole, said = _pytest([str(file) for file in KILLS], told.jobs, KILL9_SEED=str(first), KILL9_SEEDS=str(told.seeds))
            found = sorted(set(FAILED.findall(said)))
            seeds += told.seeds
            failures += not whole
            _keep(found)
            _say(round_number, f"{told.seeds} kills from seed {first}: {'held' if whole else f'FAILED {found}, kept in {KEPT}'}")
        if time.monotonic() >= until:
            break
    print(f"{round_number} rounds, {seeds} seeds of kill -9, {failures} rounds with a failure")
    return 1 if failures else 0


def _pytest(paths: list[str], jobs: str, **environment: str) -> tuple[bool, str]:
    """Whether all of it passed, and what it printed; that of a failure is shown."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", jobs, "--dist", "loadgroup", "--tb", "short", *paths]
    try:
        ended = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=ROUND_S)
    except subprocess.TimeoutExpired as hung:
        said = hung.stdout.decode() if isinstance(hung.stdout, bytes) else ""
        print(f"{said}\nended after {ROUND_S} s: it hung", flush=True)
        return False, said
    if ended.returncode:
        print(ended.stdout + ended.stderr, flush=True)
    return ended.returncode == 0, ended.stdout


def _keep(found: list[tuple[str, str]]) -> None:
    known = KEPT.read_text()
    with KEPT.open("a") as kept:
        for story, seed in found:
            if f"{story} {seed} " not in known:
                kept.write(f"{story} {seed} found by make soak: say here what it was\n")


def _say(round_number: int, what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} round {round_number}: {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
