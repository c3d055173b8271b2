"""Places: the regions of clouds, each with the realm that it is run in, and the jurisdictions that follow from both."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date

import msgspec

from headrace.portfolio.jurisdictions import COUNTRIES, Jurisdiction, jurisdictions_of, parse_jurisdictions
from headrace.portfolio.tables import read_tables, rows

ON_PREMISES = "on-premises"
ANYWHERE = "anywhere"


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """One place. `country` of None: it may be in several countries, or anywhere; what holds all the same is in `jurisdictions`.

    `realm` is the part of the cloud that is run apart from its other parts. `operator` of None: the cloud's own operator runs it, else
    this company, under the law of `operator_country`. `host`: what is promised of this place holds for endpoints at this host only.
    `carbon_g_per_kwh`: grams of CO₂ equivalent a kilowatt-hour of its grid, where known.
    """

    cloud: str
    name: str
    country: str | None
    realm: str | None
    jurisdictions: frozenset[str]
    operator: str | None = None
    operator_country: str | None = None
    host: str | None = None
    carbon_g_per_kwh: float | None = None
    source: str
    as_of: date | None = None


class Atlas(msgspec.Struct, frozen=True, kw_only=True):
    """All regions, and the jurisdictions by which they were judged."""

    regions: tuple[Region, ...]
    jurisdictions: Mapping[str, Jurisdiction]


def parse_regions(text: str) -> Atlas:
    """The regions of a TOML text, such as the shipped `regions.toml`, with the jurisdictions that its own rules give them.

    Raises ValueError that says what is wrong, and in which row.
    """
    tables = read_tables(text, "regions", frozenset({"jurisdiction", "realm"}))
    rules = parse_jurisdictions(tables["jurisdiction"])
    regions = tuple(region for realm in rows(tables["realm"], "regions", _Realm) for region in _regions(realm, rules))
    return Atlas(regions=regions, jurisdictions=rules)


def on_premises(country: str | None, rules: Iterable[Jurisdiction], name: str = "local") -> Region:
    """A place of the operator's own, in the country that the settings state; None: not stated, so it has no jurisdiction.

    Raises ValueError for what is no country code.
    """
    if country is not None and country not in COUNTRIES:
        raise ValueError(f'{country!r} is no country code of ISO 3166 in capitals, such as "DE"')
    countries = frozenset() if country is None else frozenset({country})
    return Region(
        cloud=ON_PREMISES,
        name=name,
        country=country,
        realm=None,
        jurisdictions=jurisdictions_of(countries, None, rules),
        source="the settings",
    )


class _Realm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`regions` lists names by where they are: a country code, the name of a jurisdiction inside which they are, or `anywhere`."""

    cloud: str
    name: str
    operator: str | None = None
    operator_country: str | None = None
    regions: Mapping[str, tuple[str, ...]]
    hosts: Mapping[str, str] = {}
    carbon_g_per_kwh: Mapping[str, float] = {}
    source: str
    as_of: date


def _regions(realm: _Realm, rules: Mapping[str, Jurisdiction]) -> Iterator[Region]:
    for where, names in realm.regions.items():
        countries = _countries(realm, where, rules)
        country = where if where in COUNTRIES else None
        jurisdictions = jurisdictions_of(countries, f"{realm.cloud}/{realm.name}", rules.values())
        for name in names:
            yield Region(
                cloud=realm.cloud,
                name=name,
                country=country,
                realm=realm.name,
                jurisdictions=jurisdictions,
                operator=realm.operator,
                operator_country=realm.operator_country,
                host=realm.hosts.get(name),
                carbon_g_per_kwh=realm.carbon_g_per_kwh.get(name),
                source=realm.source,
                as_of=realm.as_of,
            )


def _countries(realm: _Realm, where: str, rules: Mapping[str, Jurisdiction]) -> frozenset[str]:
    if where in COUNTRIES:
        return frozenset({where})
    if where in rules:
        return rules[where].countries
    if where == ANYWHERE:
        return frozenset()
    raise ValueError(
        f"the regions of {realm.cloud}/{realm.name} in {where!r}: that is neither a country code nor a jurisdiction nor `{ANYWHERE}`"
    )
