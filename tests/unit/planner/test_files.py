"""What is asked and what can be had, as files say it: read whole, refused with what is wrong."""

import pytest

from headrace.planner.day import CURVES, Block, blocks
from headrace.planner.demand import EXPECTED, Case, parse_demand
from headrace.planner.offers import Market, offers_of, parse_supply
from headrace.planner.sites import instance, nobody_serves
from headrace.planner.speed import Speed
from tests.unit.planner.questions import a_demand
from tests.unit.portfolio.shipped import SHIPPED

DEMAND = '[[demand]]\nmodel = "deepseek-r1"\ntokens_per_s = 1_000\n'
PRICED = "usd_per_accelerator_hour = 1\n"
OFFER = '[[offer]]\ncloud = "oci"\nregion = "eu-frankfurt-1"\nsilicon = "nvidia-b200"\nterm = "on_demand"\n'


def at_speed(silicon: str, demand: object) -> Speed:
    return Speed(tokens_per_s=100.0, grade="measured", error=0.1, source="a test")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no demand to plan for"),
        (f"{DEMAND}{DEMAND}", "two demands are named 'realtime anywhere deepseek-r1'"),
        (f"{DEMAND}tokens_per_second = 1\n", "tokens_per_second"),
        (f"{DEMAND}hourly = [1.0, 1.0]\n", "has 2 values: it has one for each of 24 hours"),
        (f"{DEMAND}cached_share = 1.5\n", "cached_share"),
        ('[[training]]\nname = "t"\naccelerator_hours = 1\nsilicon = {}\n', "names no silicon to run on"),
        ('[[training]]\nname = "t"\naccelerator_hours = 1\nsilicon = { x = 1 }\nstart_quarter = 2\n', "ends before it starts"),
        (f'{DEMAND}[[case]]\nname = "a"\nprobability = 0\n', "probability"),
        ("[[demands]]\n", "tables that nobody reads: demands"),
    ],
)
def test_a_demand_that_is_wrong_says_what(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("[", r"\[")):
        parse_demand(text)


def test_a_demand_of_one_line_is_enough() -> None:
    ask = parse_demand(DEMAND)
    assert ask.cases == (EXPECTED,)
    assert ask.demands[0].tokens_in_per_s == pytest.approx(888.9, rel=1e-3)
    assert ask.demands[0].tokens_out_per_s == pytest.approx(111.1, rel=1e-3)


def test_cases_are_likely_as_a_whole_and_begin_when_they_do() -> None:
    ask = parse_demand(
        f'{DEMAND}[[case]]\nname = "a"\nprobability = 3\n[[case]]\nname = "b"\nprobability = 1\nfrom_quarter = 1\n'
        'demand = { realtime = 2.0 }\nprices = { "*" = 1.5 }\n'
    )
    first, second = ask.likely
    assert (first.probability, second.probability) == (0.75, 0.25)
    assert [second.demand_factor(ask.demands[0], quarter) for quarter in (0, 1)] == [1.0, 2.0]
    assert [second.price_factor("aws", quarter) for quarter in (0, 1)] == [1.0, 1.5]
    assert Case(name="c", probability=1, demand={"chat": 3.0, "*": 2.0}).demand_factor(a_demand(), 0) == 3.0


@pytest.mark.parametrize("curve", list(CURVES))
def test_a_days_course_has_a_mean_of_one(curve: str) -> None:
    demand = a_demand(curve=curve, growth_per_quarter=0.1, utc_offset_h=5)
    assert sum(demand.level(0, hour) for hour in range(24)) / 24 == pytest.approx(1)
    assert sum(demand.level(2, hour) for hour in range(24)) / 24 == pytest.approx(1.21)


def test_blocks_of_a_day() -> None:
    assert [block.title for block in blocks(3)] == ["00-08 UTC", "08-16 UTC", "16-00 UTC"]
    assert sum(block.hours_per_quarter for block in blocks(4)) == pytest.approx(2_191.5)
    block = Block(start=6, hours=2)
    assert (block.mean(float), block.peak(float)) == (6.5, 7)
    with pytest.raises(ValueError, match="choose from 1, 2, 3"):
        blocks(5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{OFFER}{OFFER}", "two offers of oci eu-frankfurt-1 nvidia-b200 on_demand"),
        (f"{OFFER}[[limits]]\n[[limits]]\n", r"\[\[limits\]\] twice"),
        (f"{OFFER}term_quarters = 1\n", "term_quarters"),
    ],
)
def test_a_portfolio_that_is_wrong_says_what(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_supply(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OFFER.replace("eu-frankfurt-1", "eu-frankfrt-1"), "did you mean eu-frankfurt-"),
        (OFFER.replace('"oci"', '"ocii"'), "no region 'eu-frankfurt-1' of ocii is known: did you mean oci"),
        (OFFER.replace("nvidia-b200", "nvidia-b20"), "no price is known of nvidia-b20"),
        (
            OFFER.replace("nvidia-b200", "nvidia-b20") + "usd_per_accelerator_hour = 1\n",
            "silicon 'nvidia-b20' is not known: did you mean nvidia-b200",
        ),
        (OFFER.replace("on_demand", "reserved_1y"), "no price is known"),
        ('[[market]]\ncloud = "oci"\nregions = ["eu-frankfrt-1"]\nsilicon = ["nvidia-b200"]\n', "did you mean eu-frankfurt-"),
    ],
)
def test_what_the_catalog_does_not_know_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        instance(parse_demand(DEMAND), parse_supply(text), SHIPPED, at_speed)


def test_an_unknown_jurisdiction_is_refused() -> None:
    with pytest.raises(ValueError, match="no jurisdiction is named 'europe'"):
        instance(parse_demand(f'{DEMAND}jurisdictions = ["europe"]\n'), parse_supply(OFFER), SHIPPED, at_speed)


def test_prices_and_places_come_from_the_catalog() -> None:
    question = instance(parse_demand(DEMAND), parse_supply(OFFER), SHIPPED, at_speed)
    place = question.places[0]
    assert place.offers[0].usd_per_accelerator_hour == 14.0
    assert "eu" in place.jurisdictions
    assert (place.kw, place.silicon_vendor) == (2.17, "nvidia")
    assert question.loads == {(0, 0): 10.0}


def test_a_market_is_what_a_cloud_lists_there() -> None:
    market = Market(
        cloud="aws",
        regions=("us-east-1", "eu-west-1"),
        silicon=("nvidia-h100", "nvidia-h200"),
        terms=("reserved_3y", "reserved_1y", "on_demand", "spot"),
        discounts={"reserved_1y": 0.5},
    )
    found = {(offer.region, offer.silicon, offer.term): offer.usd_per_accelerator_hour for offer in offers_of(market, SHIPPED)}
    assert found == {
        ("us-east-1", "nvidia-h100", "reserved_3y"): 1.30,
        ("us-east-1", "nvidia-h100", "reserved_1y"): 3.44,
        ("us-east-1", "nvidia-h100", "on_demand"): 6.88,
        ("us-east-1", "nvidia-h100", "spot"): 3.21875,
    }


def test_own_machines_are_in_the_country_that_is_said() -> None:
    own = (
        '[[held]]\ncloud = "on-premises"\nregion = "cellar"\nsilicon = "nvidia-h100"\ncountry = "DE"\naccelerators = 8\nquarters_left = 1\n'
    )
    question = instance(
        parse_demand(f'{DEMAND}jurisdictions = ["de"]\n'), parse_supply(f"{own}[[limits]]\nquarters = 2\n"), SHIPPED, at_speed
    )
    assert question.places[0].held == (8.0, 0.0)
    assert (0, 0) in question.loads


def test_rules_keep_a_demand_from_a_place_and_speed_keeps_it_from_a_vendor() -> None:
    tokens = '[[tokens]]\ncloud = "cerebras"\nregion = "global"\nmodel = "deepseek-r1"\ninput = 1.0\noutput = 2.0\ntpot_ms = 100\n'
    supply = parse_supply(OFFER + tokens)
    asked = instance(parse_demand(f'{DEMAND}vendors = ["aws"]\n'), supply, SHIPPED, at_speed)
    assert nobody_serves(asked) == ("realtime anywhere deepseek-r1",)
    waits = instance(parse_demand(f'{DEMAND}class = "batch"\ncached_share = 0.5\n'), supply, SHIPPED, at_speed)
    uncached, cached, out = 1_000 * 8 / 9 / 2, 1_000 * 8 / 9 / 2, 1_000 / 9
    assert waits.usd_per_s == {(1, 0): pytest.approx((uncached + cached + 2 * out) / 1e6)}
