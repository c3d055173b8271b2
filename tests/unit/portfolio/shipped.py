"""The catalog as the package ships it, and texts of small ones."""

from pathlib import Path

import headrace.portfolio
from headrace.portfolio.catalog import Catalog, catalog

DATA = Path(headrace.portfolio.__file__).parent / "data"
TEXTS = {name: (DATA / f"{name}.toml").read_text(encoding="utf-8") for name in ("clouds", "regions", "silicon", "prices", "serving")}
SHIPPED: Catalog = catalog(**TEXTS)

DATED = 'source = "a test"\nas_of = 2026-11-01\n'


def a_catalog(*, regions: str = "", silicon: str = "", prices: str = "", serving: str = "") -> Catalog:
    """One cloud `c` and, beside what is given, one region `r` in Germany and one kind of silicon `x`."""
    return catalog(
        clouds=f'{DATED}[[cloud]]\nname = "c"\ntitle = "C"\noperator = "C, Inc."\nkind = "cloud"\n',
        regions=f'{DATED}[[realm]]\ncloud = "c"\nname = "public"\nregions = {{ DE = ["r"] }}\n{regions}',
        silicon=f'{DATED}[[silicon]]\nname = "x"\nvendor = "v"\n{silicon}',
        prices=f"{DATED}{prices}",
        serving=f"{DATED}{serving}",
    )
