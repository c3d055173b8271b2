"""The other world: the same decide() on a virtual clock, over silicon that is modelled from measured points."""

from headrace.simulator.calls import Call, Replay, Workload
from headrace.simulator.checks import Broken, Checker
from headrace.simulator.faults import Demand, Fault, NewRule, Outage, PriceChange, Slow
from headrace.simulator.fleet import Block, Fleet
from headrace.simulator.known import compiled_here, fleet_of, shipped_services
from headrace.simulator.planet import Calibration, Difference, Planet, calibrated, differences
from headrace.simulator.report import Report, decode, encode
from headrace.simulator.run import Run
from headrace.simulator.service import Mix, Service, Services, Standing, feasible, mix_of, parse_services, standing
from headrace.simulator.settings import RunSettings
from headrace.simulator.sites import Site, Vendor
from headrace.simulator.synthetic import Source, Surge, Synthetic
from headrace.simulator.training import Job

__all__ = [
    "Block",
    "Broken",
    "Calibration",
    "Call",
    "Checker",
    "Demand",
    "Difference",
    "Fault",
    "Fleet",
    "Job",
    "Mix",
    "NewRule",
    "Outage",
    "Planet",
    "PriceChange",
    "Replay",
    "Report",
    "Run",
    "RunSettings",
    "Service",
    "Services",
    "Site",
    "Slow",
    "Source",
    "Standing",
    "Surge",
    "Synthetic",
    "Vendor",
    "Workload",
    "calibrated",
    "compiled_here",
    "decode",
    "differences",
    "encode",
    "feasible",
    "fleet_of",
    "mix_of",
    "parse_services",
    "shipped_services",
    "standing",
]
