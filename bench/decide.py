"""What a decision costs, by the number of pools that may serve.

    make bench-decide           ARGS="--rounds 5"

`decide` over pools of several clouds and contracts, all of them feasible, a prompt of 2 KB with a prefix of its own: filters by memo, as in
the server, and for the first look at a kind of request without it. Processor time, the least of some rounds: the machine is shared.
"""

import argparse
import random
import time
from collections.abc import Callable

from bench.machine import machine, tell
from headrace.core.rules import Rules
from headrace.portfolio import Pool, TokenCost
from headrace.routing import POLICIES, Board, Policy, decide
from headrace.testing.builders import MODEL, a_pool, a_world, an_ask

COUNTS = (1, 10, 50, 500)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rounds", type=int, default=5)
    rounds = ask.parse_args().rounds
    rows, figures = [], {}
    for count in COUNTS:
        board = _board(count)
        for name, policy in POLICIES.items():
            us = min(_decision_us(board, policy) for _ in range(rounds))
            rows.append((f"{count} pools, {name}", f"{us:.1f}"))
            figures[f"decide_us_{count}_{name}"] = round(us, 2)
        first = min(_filter_us(board) for _ in range(rounds))
        rows.append((f"{count} pools, the filters alone, first time", f"{first:.1f}"))
        figures[f"filter_us_{count}"] = round(first, 2)
    tell(machine("headrace", "msgspec"), ("decision", "us"), rows, figures)


def _board(count: int) -> Board:
    chance = random.Random(count)
    world = a_world(*(_pool(number, chance) for number in range(count)))
    for room in world.rooms.values():
        room.load.inflight = chance.randrange(40)
        room.load.ttft_ms = 200 + 400 * chance.random()
    return world.board


def _pool(number: int, chance: random.Random) -> Pool:
    cost = TokenCost(chance.random() * 1e6, chance.random() * 1e5, chance.random() * 1e7)
    where = ("eu", "us", "jp")[number % 3]
    return a_pool(
        f"pool-{number}",
        concurrency_max=64,
        owned=number % 3 == 0,
        costs={MODEL: cost},
        jurisdictions=frozenset({where}),
        vendor=f"v{number % 7}",
    )


def _decision_us(board: Board, policy: Policy) -> float:
    asks = [an_ask(tokens_in_max=2_560, tokens_out_max=256, affinity=1 << 32 | number) for number in range(64)]
    rng, turns = random.Random(1), max(2_000 // len(board.loads), 20)
    return _least_us(lambda: [decide(ask, board, 5, rng, policy) for ask in asks], turns) / len(asks)


def _filter_us(board: Board) -> float:
    """Every rule object is a new one, so that no memo knows it."""
    rng = random.Random(1)

    def look() -> None:
        fresh = Board(board.snapshot, board.loads)
        decide(an_ask(rules=Rules(jurisdictions=frozenset({"eu", "us", "jp"}))), fresh, 5, rng)

    return _least_us(look, 20)


def _least_us(work: Callable[[], object], turns: int) -> float:
    began = time.process_time()
    for _ in range(turns):
        work()
    return (time.process_time() - began) / turns * 1e6


if __name__ == "__main__":
    main()
