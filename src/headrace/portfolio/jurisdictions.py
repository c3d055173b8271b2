"""What may be required of a place: the countries and realms over which a jurisdiction reaches, as data.

A place has a jurisdiction when all of it lies inside. Of a place that may be in several countries, only what holds in each of them
holds; of a place that may be anywhere, nothing holds. So a rule fails closed: what isn't known is outside.
"""

from collections.abc import Iterable
from datetime import date

import msgspec

from headrace.portfolio.tables import Table, rows

COUNTRIES = frozenset(
    (  # noqa: SIM905 - 249 codes, each in quotes, would hide one that is wrong
        "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH "
        "CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN "
        "GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI "
        "LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM "
        "PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD "
        "TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW "
    ).split()
)
"""ISO 3166-1 alpha-2. Each is a jurisdiction too, in lower case."""


class Jurisdiction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """It reaches over all of `countries`, and over `realms`: parts of a cloud that are run apart, as `cloud/realm`."""

    name: str
    title: str
    countries: frozenset[str] = frozenset()
    realms: frozenset[str] = frozenset()
    source: str
    as_of: date

    def __post_init__(self) -> None:
        if not self.countries <= COUNTRIES:
            raise ValueError(f"{self.name}: {', '.join(sorted(self.countries - COUNTRIES))} is no country code of ISO 3166")
        if self.name != self.name.lower() or self.name.upper() in COUNTRIES:
            raise ValueError(f"{self.name} can't name a jurisdiction: country codes name the countries, and the others are in lower case")


def parse_jurisdictions(tables: Iterable[Table]) -> dict[str, Jurisdiction]:
    """The rules by their names. Raises ValueError that says what is wrong, and in which row."""
    return {rule.name: rule for rule in rows(tables, "jurisdictions", Jurisdiction)}


def jurisdictions_of(countries: frozenset[str], realm: str | None, rules: Iterable[Jurisdiction]) -> frozenset[str]:
    """The names of all jurisdictions of a place in `countries` (none: it may be anywhere), in `realm` (`cloud/realm`)."""
    own = {country.lower() for country in countries} if len(countries) == 1 else set()
    inside = {rule.name for rule in rules if (countries and countries <= rule.countries) or realm in rule.realms}
    return frozenset(own | inside)
