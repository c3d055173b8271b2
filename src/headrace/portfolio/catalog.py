"""Everything that is known of clouds, places, silicon, prices and speeds, as one immutable value that is asked by name."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import chain
from typing import Literal, TypeAlias, assert_never

import msgspec

from headrace.portfolio.clouds import Cloud, parse_clouds
from headrace.portfolio.jurisdictions import COUNTRIES, Jurisdiction
from headrace.portfolio.prices import HourlyKind, PriceRow, parse_list_prices
from headrace.portfolio.regions import Atlas, Region, on_premises, parse_regions
from headrace.portfolio.serving import TOKENS_IN, TOKENS_OUT, Serving, ServingPoint, best_point, own_point, parse_serving, plain_name
from headrace.portfolio.silicon import Silicon, parse_silicon

CatalogKind: TypeAlias = Literal["cloud", "region", "silicon", "model", "jurisdiction"]


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """What exists, indexed. What it doesn't know it answers with None, and `nearest` says what may have been meant.

    `jurisdictions` are all names that can be required of a place: those of the rules, and every country's.
    """

    clouds: Mapping[str, Cloud]
    regions: Mapping[tuple[str, str], Region]
    rules: Mapping[str, Jurisdiction]
    jurisdictions: frozenset[str]
    accelerators: Mapping[str, Silicon]
    prices: Mapping[tuple[str, HourlyKind], tuple[PriceRow, ...]]
    points: Mapping[tuple[str, str], tuple[ServingPoint, ...]]
    models: Mapping[str, str]

    def cloud(self, name: str) -> Cloud | None:
        return self.clouds.get(name)

    def region(self, cloud: str, name: str) -> Region | None:
        """None: not known, so nothing is known of its jurisdiction either."""
        return self.regions.get((cloud, name))

    def on_premises(self, country: str | None, name: str = "local") -> Region:
        """A place of the operator's own. Raises ValueError for what is no country code."""
        return on_premises(country, self.rules.values(), name)

    def silicon(self, name: str) -> Silicon | None:
        return self.accelerators.get(name)

    def list_price(self, cloud: str, region: str, silicon: str, contract: HourlyKind) -> PriceRow | None:
        """The most specific price that holds there, and of those the latest."""
        place = self.region(cloud, region)
        country = None if place is None else place.country
        held = [row for row in self.prices.get((silicon, contract), ()) if row.covers(cloud, region, country)]
        return max(held, key=lambda row: (row.specificity, row.as_of), default=None)

    def serving_point(
        self,
        silicon: str,
        model: str,
        *,
        tokens_in: int = TOKENS_IN,
        tokens_out: int = TOKENS_OUT,
        tpot_ms_max: float | None = None,
    ) -> ServingPoint | None:
        """The point to reckon with for `model` on `silicon`, see `best_point`; its `grade` says how far to rely on it.

        What the silicon's own `tokens_per_s` says comes before any other point.
        """
        known = self.models.get(plain_name(model), plain_name(model))
        own = own_point(self.accelerators.get(silicon), known)
        held = self.points.get((silicon, known), ()) if own is None else (own,)
        return best_point(held, tokens_in=tokens_in, tokens_out=tokens_out, tpot_ms_max=tpot_ms_max)

    def nearest(self, kind: CatalogKind, name: str, *, cloud: str | None = None) -> tuple[str, ...]:
        """Up to three known names that hold `name` or look like it; regions only of `cloud`, where it is given."""
        folded = {known.lower(): known for known in self._names(kind, cloud)}
        holding = [known for known in folded if name.lower() in known]
        return tuple(folded[match] for match in dict.fromkeys([*holding, *get_close_matches(name.lower(), folded)]))[:3]

    def with_silicon(self, own: Iterable[Silicon]) -> "Catalog":
        """The catalog with an operator's own silicon in it; of one name with a shipped one, it takes that one's place."""
        return msgspec.structs.replace(self, accelerators={**self.accelerators, **{each.name: each for each in own}})

    def _names(self, kind: CatalogKind, cloud: str | None) -> Iterable[str]:
        match kind:
            case "cloud":
                return self.clouds
            case "region":
                return (name for of, name in self.regions if cloud in (None, of))
            case "silicon":
                return self.accelerators
            case "model":
                return self.models
            case "jurisdiction":
                return sorted(self.jurisdictions)
            case never:
                assert_never(never)


def catalog(*, clouds: str, regions: str, silicon: str, prices: str, serving: str) -> Catalog:
    """The catalog of five TOML texts, such as the shipped ones.

    Raises ValueError where one is wrong, names something twice, or speaks of a cloud, region or silicon that another doesn't know.
    """
    known_clouds = {cloud.name: cloud for cloud in parse_clouds(clouds)}
    known_silicon = {each.name: each for each in parse_silicon(silicon)}
    atlas, rows, speeds = parse_regions(regions), parse_list_prices(prices), parse_serving(serving)
    _check_names("silicon", chain((row.silicon for row in rows), (point.silicon for point in speeds.points)), known_silicon)
    _check_names("cloud", chain((each.cloud for each in atlas.regions), (row.cloud for row in rows if row.cloud)), known_clouds)
    _check_names("model", speeds.models.values(), {point.model for point in speeds.points})
    known_regions = _by_place(atlas)
    _check_names("region", ((row.cloud, row.region) for row in rows if row.region), known_regions)
    return Catalog(
        clouds=known_clouds,
        regions=known_regions,
        rules=atlas.jurisdictions,
        jurisdictions=frozenset(atlas.jurisdictions) | {country.lower() for country in COUNTRIES},
        accelerators=known_silicon,
        prices=_by_silicon(rows),
        points=_by_model(speeds),
        models=speeds.models,
    )


def _check_names(what: str, spoken: Iterable[object], known: Iterable[object]) -> None:
    unknown = set(spoken) - set(known)
    if unknown:
        raise ValueError(f"the catalog speaks of {what} {min(map(str, unknown))}, which it doesn't know")


def _by_place(atlas: Atlas) -> dict[tuple[str, str], Region]:
    places: dict[tuple[str, str], Region] = {}
    for region in atlas.regions:
        if (region.cloud, region.name) in places:
            raise ValueError(f"the catalog has the region {region.name} of {region.cloud} twice")
        places[region.cloud, region.name] = region
    return places


def _by_silicon(rows: Iterable[PriceRow]) -> dict[tuple[str, HourlyKind], tuple[PriceRow, ...]]:
    held: dict[tuple[str, HourlyKind], tuple[PriceRow, ...]] = {}
    for row in rows:
        key = (row.silicon, row.contract)
        held[key] = (*held.get(key, ()), row)
    return held


def _by_model(speeds: Serving) -> dict[tuple[str, str], tuple[ServingPoint, ...]]:
    held: dict[tuple[str, str], tuple[ServingPoint, ...]] = {}
    for point in speeds.points:
        key = (point.silicon, point.model)
        held[key] = (*held.get(key, ()), point)
    return held
