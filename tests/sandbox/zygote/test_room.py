"""What confined code still can do, and within which bounds of memory."""

from __future__ import annotations

import resource
import sys
from typing import Any

import pytest

from streamsim.sandbox import table
from streamsim.sandbox.limits import MIB, Limits


def test_the_limits_are_those_of_the_table(subject: Any) -> None:
    names = {
        resource.RLIMIT_CPU: "Max cpu time",
        resource.RLIMIT_FSIZE: "Max file size",
        resource.RLIMIT_CORE: "Max core file size",
        resource.RLIMIT_NOFILE: "Max open files",
        resource.RLIMIT_NPROC: "Max processes",
        resource.RLIMIT_MEMLOCK: "Max locked memory",
        resource.RLIMIT_MSGQUEUE: "Max msgqueue size",
        resource.RLIMIT_STACK: "Max stack size",
    }
    rows = subject.proc("limits").splitlines()
    for which, name in names.items():
        soft, hard = next(row for row in rows if row.startswith(name))[26:].split()[:2]
        assert (int(soft), int(hard)) == (table.RLIMITS[which],) * 2


@pytest.mark.parametrize("budget", [32 * MIB, 128 * MIB])
def test_memory_ends_at_the_budget_above_the_baseline(machine: Any, budget: int) -> None:
    subject = machine.spawn(limits=Limits(memory_bytes=budget))
    code = """
held = []
try:
    while len(held) < 1024:
        held.append(bytearray(1 << 20))
except MemoryError:
    pass
result = len(held)
held.clear()
"""
    assert 0.7 * budget <= subject.run(code) * MIB <= budget
    shared = "import mmap\nm = mmap.mmap(-1, size)"
    with pytest.raises(Exception, match=r"OSError|MemoryError"):
        subject.run(shared, size=2 * budget)


def test_workers_do_not_draw_the_same_numbers(machine: Any) -> None:
    code = "import random, numpy; result = [random.random(), float(numpy.random.random())]"
    draws = [machine.spawn(index).run(code) for index in (1, 2)]
    assert draws[0][0] != draws[1][0]
    assert draws[0][1] != draws[1][1]


def test_what_numerical_code_needs_works(subject: Any) -> None:
    code = """
import datetime, decimal, random, statistics, time, uuid, zoneinfo
import numpy as np, scipy.stats, scipy.optimize, scipy.linalg
generator = np.random.default_rng(3)
data = generator.normal(size=(200, 5))
target = data @ np.arange(5) + 1
solution = np.linalg.lstsq(np.c_[data, np.ones(200)], target, rcond=None)[0]
assert np.allclose(solution, [0, 1, 2, 3, 4, 1])
assert abs(scipy.optimize.minimize(lambda x: ((x - 2) ** 2).sum(), np.zeros(3)).x - 2).max() < 1e-4
assert abs(scipy.stats.beta(2, 3).rvs(1000, random_state=1).mean() - 0.4) < 0.05
scipy.linalg.eigh(data.T @ data), np.fft.fft(target), np.linalg.svd(data)
time.sleep(0.001), time.process_time(), datetime.datetime.now(zoneinfo.ZoneInfo("Europe/Amsterdam"))
uuid.uuid4(), random.SystemRandom().random(), decimal.Decimal("1.1").sqrt(), statistics.quantiles(target)
result = datetime.datetime.now().astimezone().tzname()
"""
    assert subject.run(code) == "UTC"


def test_scikit_learn_works(subject: Any) -> None:
    pytest.importorskip("sklearn")
    code = """
import numpy as np
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
generator = np.random.default_rng(0)
data = generator.normal(size=(200, 4))
label = (data[:, 0] > 0).astype(int)
scores = [LogisticRegression().fit(data, label).score(data, label)]
scores += [SGDClassifier().partial_fit(data, label, classes=[0, 1]).score(data, label)]
scores += [RandomForestClassifier(10, n_jobs=2).fit(data, label).score(data, label)]
KMeans(2, n_init=1).fit(data)
result = min(scores)
"""
    assert subject.run(code) > 0.8


def test_python_itself_is_the_one_of_the_host(subject: Any) -> None:
    code = "import sys; flags = sys.flags\n"
    code += "result = [sys.version, flags.safe_path, flags.no_user_site, flags.dont_write_bytecode]"
    assert subject.run(code) == [sys.version, True, 1, 1]
