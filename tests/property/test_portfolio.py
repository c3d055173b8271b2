"""Places and prices: not to know never opens a door, and money is exact."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.money import usd
from headrace.portfolio.costs import owned_pico_per_token, pico_per_hour
from headrace.portfolio.jurisdictions import COUNTRIES, jurisdictions_of
from headrace.portfolio.serving import plain_name
from tests.unit.portfolio.shipped import SHIPPED

RULES = tuple(SHIPPED.rules.values())
COUNTRY = st.sampled_from(sorted(COUNTRIES))
REALM = st.none() | st.sampled_from(sorted({realm for rule in RULES for realm in rule.realms} | {"oci/oc1", "nobody/knows"}))


@given(countries=st.frozensets(COUNTRY, min_size=1, max_size=4), more=st.frozensets(COUNTRY, max_size=4), realm=REALM)
def test_where_data_may_also_go_elsewhere_no_more_holds(countries, more, realm):
    assert jurisdictions_of(countries | more, realm, RULES) <= jurisdictions_of(countries, realm, RULES)


@given(countries=st.frozensets(COUNTRY, max_size=4), realm=REALM)
def test_a_jurisdiction_of_countries_holds_where_all_of_the_place_is_inside(countries, realm):
    held = jurisdictions_of(countries, realm, RULES)
    for rule in RULES:
        inside = bool(countries) and all(country in rule.countries for country in countries)
        assert (rule.name in held) == (inside or realm in rule.realms)
    codes = {name for name in held if name.upper() in COUNTRIES}
    assert codes == ({country.lower() for country in countries} if len(countries) == 1 else set())


@given(pico=st.integers(0, 10**18))
def test_an_hours_price_is_exact(pico):
    assert pico_per_hour(usd(pico)) == pico


@given(pico=st.integers(0, 10**15), tokens_per_s=st.floats(0.1, 1e6), used=st.floats(0.01, 1), less=st.floats(0.1, 1))
def test_the_hour_is_paid_by_the_tokens_that_it_serves(pico, tokens_per_s, used, less):
    full = owned_pico_per_token(pico_per_accelerator_hour=pico, tokens_per_s_per_accelerator=tokens_per_s)
    partly = owned_pico_per_token(pico_per_accelerator_hour=pico, tokens_per_s_per_accelerator=tokens_per_s, utilisation=used)
    idler = owned_pico_per_token(pico_per_accelerator_hour=pico, tokens_per_s_per_accelerator=tokens_per_s, utilisation=used * less)
    assert full <= partly <= idler
    assert abs(partly * tokens_per_s * used * 3_600 - pico) <= pico * 1e-9


@given(name=st.text(alphabet="ab/-1.fpitchat8n", max_size=30))
def test_a_plain_name_is_plain(name):
    assert plain_name(plain_name(name)) == plain_name(name)
    assert plain_name(f"owner/{name.rsplit('/', 1)[-1].upper()}-Instruct-FP8") == plain_name(name)
