"""The other world: the same decide() on a virtual clock, over silicon that is modelled from measured points."""

from headrace.simulator.known import shipped_services
from headrace.simulator.service import Mix, Service, Services, Standing, feasible, mix_of, parse_services, standing

__all__ = [
    "Mix",
    "Service",
    "Services",
    "Standing",
    "feasible",
    "mix_of",
    "parse_services",
    "shipped_services",
    "standing",
]
