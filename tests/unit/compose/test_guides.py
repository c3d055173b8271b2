"""The pages about capacity and placement: their examples are taken by a server, and their figures are those of the code."""

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from random import Random
from typing import get_args

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from headrace.compose.capacity import CACHED_SHARE, OUTPUT_WEIGHT, UNKNOWN_COST
from headrace.compose.overview import judge, overview
from headrace.compose.settings import Settings, parse_settings
from headrace.compose.world import policy_of
from headrace.gateway import Terms
from headrace.metering import moment_of
from headrace.portfolio import Contract, Dialect, TokenCost
from headrace.routing import CLASSES, POLICIES, TIERS, VERDICTS, Board, HealthSettings, Load
from headrace.routing.decide import BYTES_PER_TOKEN_MOST, PLACED_MAX
from headrace.routing.health import RETRY_AFTER_MS_MAX, WEIGHT_NEW
from headrace.routing.policies import BYTES_PER_TOKEN, CROWDED, TOKENS_OUT_LIKELY
from headrace.testing.builders import a_model, a_pool, a_snapshot, an_ask
from tests.unit.routing.order import order_of

DOCS = Path(__file__).parents[3] / "docs"
CAPACITY, PLACEMENT = DOCS / "guides" / "portfolio.md", DOCS / "guides" / "placement.md"
EXPLAINED = DOCS / "explanation" / "placement.md"
SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY",
    **dict.fromkeys(
        ("ACME_KEY", "ANTHROPIC_API_KEY", "AWS_BEARER_TOKEN_BEDROCK", "AZURE_SWEDEN_KEY", "CEREBRAS_API_KEY", "ENTRA_SECRET"), "secret"
    ),
    **dict.fromkeys(("GEMINI_API_KEY", "OPENAI_EU_KEY"), "secret"),
}


def blocks(page: Path, language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return found


def examples() -> Iterator[tuple[str, str]]:
    for page in (CAPACITY, PLACEMENT):
        for number, block in enumerate(blocks(page, "toml"), 1):
            yield f"{page.stem} {number}", block


def settings(text: str) -> Settings:
    return parse_settings(tomllib.loads(text), "the page")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files that the examples speak of, from which Python imports."""
    key = rsa.generate_private_key(65_537, 2_048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    account = {"type": "service_account", "client_email": "headrace@acme-prod.iam.gserviceaccount.com", "private_key": pem}
    (tmp_path / "vertex.json").write_text(json.dumps(account))
    (tmp_path / "own_policy.py").write_text(blocks(PLACEMENT, "python")[0])
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_policy", None)


@pytest.mark.parametrize("example", [block for _, block in examples()], ids=[name for name, _ in examples()])
def test_an_example_is_taken_whole(example: str, folder: Path):
    told = list(judge(settings(example.replace("/etc/headrace/", f"{folder}/")), SECRETS))
    assert told[0].state == "good"
    assert not any("leaves no pool" in finding.what for finding in told)


def test_the_examples_of_one_page_go_together(folder: Path):
    """Who pastes them all has one portfolio: no name is taken twice."""
    whole = "\n".join(blocks(CAPACITY, "toml")).replace("/etc/headrace/", f"{folder}/")
    pools = overview(settings(whole), moment_of(date(2026, 11, 1)))
    assert {pool.dialect for pool in pools} == set(get_args(Dialect)), "every dialect has an example"
    page = CAPACITY.read_text(encoding="utf-8")
    assert all(f"`{kind.__struct_config__.tag}`" in page for kind in get_args(Contract)), "every contract is explained"
    by_name = {pool.name: pool for pool in pools}
    assert "eu-sovereign" in by_name["fra-mi355x"].jurisdictions
    assert {"de", "eu"} <= set(by_name["fra-trainium"].jurisdictions)
    assert "eu-sovereign" not in by_name["fra-trainium"].jurisdictions
    assert {tariff.basis for pool in pools for tariff in pool.tariffs} >= {"settings", "measured", "price book"}


def test_the_policy_of_the_guide(folder: Path):
    own, (function,) = a_pool("own", models=["m"], owned=True), re.findall(r'policy = "(own_policy:\w+)"', PLACEMENT.read_text())
    cheap, dear = (a_pool(name, models=["m"], costs={"m": TokenCost(pico, pico, pico)}) for name, pico in (("cheap", 1e6), ("dear", 9e6)))
    policy = policy_of(settings(f'[routing]\npolicy = "{function}"'))
    pools = (dear, own, cheap)
    board = Board(a_snapshot(*pools, models=[a_model("m")]), {pool.name: Load() for pool in pools})
    order, _ = order_of(an_ask(model="m"), board, 0, Random(1), policy)
    assert [choice.pool.name for choice in order] == ["own", "cheap", "dear"]
    assert len(blocks(PLACEMENT, "python")[0].strip().splitlines()) <= 14, "a policy is about ten lines"


def cells(page: Path, first: str) -> list[list[str]]:
    """The rows of the table whose first column is called `first`."""
    _, _, rest = page.read_text(encoding="utf-8").partition(f"\n| {first} |")
    lines = rest.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_classes_of_the_guide():
    shares = {1.0: "all", 0.8: "80 %", 0.6: "60 %"}
    expected = [
        [
            f"`{name}`",
            str(terms.priority + 1),
            f"{terms.ttft_ms:,.0f}",
            f"{terms.tpot_ms:,.0f}",
            f"{terms.wait_ms_max // 1_000:,}",
            f"{terms.usd_per_hour:g}",
            {1_000: "list", 500: "half"}[terms.price_permille],
            shares[terms.idle_share],
        ]
        for name, terms in CLASSES.items()
    ]
    assert cells(PLACEMENT, "class") == expected


def test_the_words_of_a_decision():
    told = ", ".join(row[0] for row in cells(PLACEMENT, "found")).split(", ")
    assert set(told) == {*VERDICTS, "kept out"}


def test_the_policies_of_the_guide():
    assert [row[0] for row in cells(PLACEMENT, "policy")] == [f"`{name}`" for name in ("balanced", "cheapest", "fastest", "affinity")] + [
        f"`{name}`" for name in ("least_loaded", "weighted", "power_of_two")
    ]
    assert {row[0].strip("`") for row in cells(PLACEMENT, "policy")} == set(POLICIES)


def test_the_tiers_of_the_reference():
    page = (DOCS / "reference" / "api.md").read_text()
    told = re.search(r"`service_tier` of the body says it \((.*?)\)", page)
    assert told is not None
    pairs = {tier: part.split(": ")[1] for part in told[1].split(", ") for tier in re.findall(r"`(\w+)`", part)}
    assert pairs == dict(TIERS)


WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight")
FIGURES = [
    # page, what is written there, what the code says
    (PLACEMENT, "five times in a row", HealthSettings().failures_max == 5),
    (PLACEMENT, "half of at least twenty times", (HealthSettings().failure_share, HealthSettings().samples_min) == (0.5, 20)),
    (PLACEMENT, "twenty times in ten seconds", HealthSettings().window_ms == 10_000),
    (PLACEMENT, "After two seconds", HealthSettings().closed_ms == 2_000),
    (PLACEMENT, "up to a minute", HealthSettings().closed_ms_max == 60_000),
    (PLACEMENT, "its full load over ten seconds", HealthSettings().slow_start_ms == 10_000),
    (PLACEMENT, "at most two minutes", RETRY_AFTER_MS_MAX == 120_000),
    (PLACEMENT, f"the first {WORDS[PLACED_MAX]} are on record", True),
    (PLACEMENT, "It is off until you give it a share", Terms().hedge_share_max == 0),
    (CAPACITY, "$10 and $30 a million tokens", (UNKNOWN_COST.input_pico, UNKNOWN_COST.output_pico) == (10e6, 30e6)),
    (EXPLAINED, "at eight bytes a token", BYTES_PER_TOKEN_MOST == 8),
    (EXPLAINED, "a token for four of its bytes", BYTES_PER_TOKEN == 4),
    (EXPLAINED, "at most 300 tokens", TOKENS_OUT_LIKELY == 300),
    (EXPLAINED, "1.25 times its fair part", CROWDED == 1.25),
    (EXPLAINED, "takes five times the work", OUTPUT_WEIGHT == 5),
    (EXPLAINED, "A cached token of a prompt is taken for a tenth", CACHED_SHARE == 0.1),
    (EXPLAINED, "then a tenth of each new one", WEIGHT_NEW == 0.1),
]  # fmt: skip


@pytest.mark.parametrize(("page", "words", "true"), FIGURES, ids=[row[1] for row in FIGURES])
def test_a_figure_of_a_page(page: Path, words: str, true: bool):
    assert words in re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))
    assert true
