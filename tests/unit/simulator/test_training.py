"""Gangs begin where it is empty, count from checkpoint to checkpoint, and yield."""

from collections.abc import Sequence
from typing import Any

import pytest

from headrace.simulator.training import Idle, Job, Jobs

JOB = Job(name="j", accelerator_hours=16.0, gang=8, checkpoint_min=30.0)


def idle(site: int = 0, replicas: Sequence[int] = (0, 1, 2), each: int = 4, use: float = 0.1, silicon: str = "h100") -> Idle:
    return Idle(site, silicon, tuple(replicas), each, use)


def test_begins_where_it_is_emptiest_and_suits():
    jobs = Jobs([JOB])
    assert jobs.start(0.0, [idle(0, (0,)), idle(1, use=0.5)]) == []
    begun = jobs.start(0.0, [idle(0, use=0.2), idle(1, use=0.05)])
    assert [(gang.site, gang.replicas, gang.accelerators) for gang in begun] == [(1, (0, 1), 8)]
    assert jobs.start(60.0, [idle(0)]) == []  # one gang at most
    choosy = Jobs([Job(name="j", accelerator_hours=1, gang=1, silicon=("b200",), from_h=1.0)])
    assert choosy.start(0.0, [idle(silicon="b200")]) == []
    assert choosy.start(3_600.0, [idle(silicon="h100")]) == []
    assert len(choosy.start(3_600.0, [idle(silicon="b200")])) == 1


def test_is_done_when_its_hours_are():
    jobs = Jobs([JOB])
    jobs.start(0.0, [idle()])
    assert jobs.due(3_600.0, {0: 0.1}) == []
    assert len(jobs.due(7_200.0, {0: 0.1})) == 1
    report = jobs.reports(7_200.0)[0]
    assert (report.done, report.finished_s, report.in_time, report.lost_accelerator_hours) == (1.0, 7_200.0, True, 0.0)
    assert jobs.start(8_000.0, [idle()]) == []


def test_yields_and_keeps_what_it_saved():
    jobs = Jobs([JOB])
    jobs.start(0.0, [idle()])
    ended = jobs.due(2_700.0, {0: 0.9})  # 45 minutes: one checkpoint of 4 accelerator-hours, and 2 lost
    assert len(ended) == 1
    report = jobs.reports(2_700.0)[0]
    assert report.done == pytest.approx(4 / 16)
    assert report.lost_accelerator_hours == pytest.approx(2.0)
    assert report.used_accelerator_hours == pytest.approx(6.0)
    assert len(jobs.start(3_600.0, [idle()])) == 1
    assert jobs.reports(3_600.0)[0].started == 2


def test_two_jobs_do_not_take_the_same_replicas():
    jobs = Jobs([JOB, JOB])
    begun = jobs.start(0.0, [idle(replicas=(0, 1, 2, 3))])
    assert {replica for gang in begun for replica in gang.replicas} == {0, 1, 2, 3}


@pytest.mark.parametrize("wrong", [{"gang": 0}, {"accelerator_hours": 0}, {"starts_below": 0.9}, {"yields_above": 1.5}])
def test_a_job_that_cannot_be(wrong):
    fields: dict[str, Any] = {"name": "j", "accelerator_hours": 1.0, "gang": 1}
    with pytest.raises(ValueError, match=r"training job 'j'|starts_below"):
        Job(**{**fields, **wrong})
