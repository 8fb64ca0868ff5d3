"""The servers as fixtures, with the tables at the end of a run that say what it proved, and against what."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, TypeVar

import hypothesis
import pytest

from storages import process
from tests.servers.ceph import CephRGW
from tests.servers.process import HOST, Server, ServerError
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import SeaweedFS

# How long an example takes is the machine's affair; no test is timed.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

IMPOSSIBLE = "declared impossible: "  # what storages.testing.impossible() puts before its reason

AnyServer = TypeVar("AnyServer", bound=Server)
servers_key = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[servers_key] = {}


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a worker of pytest-xdist, whose results the first process prints
        session.config.workeroutput["servers"] = session.config.stash[servers_key]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    states = node.config.stash[servers_key]
    for name, state in getattr(node, "workeroutput", {}).get("servers", {}).items():
        if states.get(name, "").endswith(" ran") or name not in states:  # a problem of any worker is shown
            states[name] = state


def in_ci() -> bool:
    return os.environ.get("CI") == "true"


# Servers: started by the first test that asks, stopped at the end of the run.


def running(server: AnyServer, config: pytest.Config) -> Iterator[AnyServer]:
    """Start a server and stop it; one that cannot start skips its tests, or fails them when CI=true."""
    try:
        server.start()
    except ServerError as error:
        problem = str(error)
    else:
        problem = ""
    if problem:
        config.stash[servers_key][server.name] = problem.splitlines()[0]
        if in_ci():
            pytest.fail(f"{problem}\n{server.name} has to run where CI=true", pytrace=False)
        pytest.skip(problem)
    config.stash[servers_key][server.name] = f"{server.name} {server.version()} ran"
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def seaweedfs(pytestconfig: pytest.Config) -> Iterator[SeaweedFS]:
    yield from running(SeaweedFS(), pytestconfig)


@pytest.fixture(scope="session")
def ceph(pytestconfig: pytest.Config) -> Iterator[CephRGW]:
    yield from running(CephRGW(), pytestconfig)


@pytest.fixture
def wire(seaweedfs: SeaweedFS) -> Iterator[Proxy]:
    """A proxy in front of SeaweedFS: a client whose endpoint is ``wire.url`` is counted, and can be disturbed."""
    before = set(process._shared)
    with Proxy(HOST, seaweedfs.port) as proxy:
        yield proxy
    # Every wire has a port of its own: the clients made for this one serve nobody else.
    for key in set(process._shared) - before:
        process.forget(key)


# The summary: every test of a class with ``backend`` and ``server`` belongs to one row of a table, of the second if it
# proves a fault of the contract.


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    cls = getattr(item, "cls", None)
    report.row = (getattr(cls, "backend", ""), getattr(cls, "server", ""))
    report.faults = sorted(mark.args[0] for mark in item.iter_markers("fault"))
    report.numbers = [*(mark.args[0] for mark in item.iter_markers("contract")), *report.faults]
    if in_ci() and report.skipped and report.numbers and not skip_reason(report).startswith(IMPOSSIBLE):
        report.outcome = "failed"
        report.longrepr = (
            f"a case of the contract is skipped only when it is declared impossible: {skip_reason(report)}"
        )
    return report


def skip_reason(report: pytest.TestReport) -> str:
    """Return the reason of a skip without pytest's own prefix."""
    longrepr = report.longrepr
    reason = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return reason.removeprefix("Skipped: ")


def outcome_of(category: str, report: pytest.TestReport) -> str:
    if category != "skipped":
        return {"passed": "passed", "xfailed": "expected to fail"}.get(category, "failed")
    return "impossible" if skip_reason(report).startswith(IMPOSSIBLE) else "skipped"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    cases, faults = Table(), Table()
    skipped: dict[str, Counter[str]] = defaultdict(Counter)
    for category in ("passed", "skipped", "failed", "error", "xfailed", "xpassed"):
        for report in terminalreporter.stats.get(category, []):
            table = faults if getattr(report, "faults", ()) else cases
            table.add(report, outcome_of(category, report))
            if category == "skipped":
                name = report.location[2].partition("[")[0]
                skipped[skip_reason(report)][" ".join([*report.numbers, name])] += 1
    write = terminalreporter.write_line
    terminalreporter.section("what this run proved")
    for state in config.stash[servers_key].values() or ["no server was asked for"]:
        write(state)
    for line in cases.lines("backend"):
        write(line)
    for line in faults.lines("faults on", "F-01 to F-20"):
        write(line)
    write("")
    for reason, names in sorted(skipped.items(), key=lambda item: -item[1].total()):
        write(f"{names.total()} skipped, {reason}")
        for name, count in sorted(names.items()):
            write(f"    {name}" + (f", {count} times" if count > 1 else ""))
    if not skipped:
        write("nothing was skipped")


class Table:
    """How the tests of each backend ended on each server."""

    COLUMNS = ("passed", "impossible", "skipped", "failed")

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._faults: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))

    def add(self, report: Any, outcome: str) -> None:
        row = tuple(getattr(report, "row", ("", "")))
        self._rows[row][outcome] += 1
        for number in getattr(report, "faults", ()):
            self._faults[row][number].add(outcome)

    def lines(self, title: str, faults: str = "") -> Iterator[str]:
        """Yield the lines of the table, if it has any; with ``faults``, a column of what became of the numbers."""
        if not self._rows:
            return
        yield ""
        yield (
            f"{title:<12}{'server':<16}" + "".join(f"{column:>12}" for column in self.COLUMNS) + f"  {faults}".rstrip()
        )
        for (backend, server), counts in sorted(self._rows.items()):
            row = f"{backend or '(general)':<12}{server or '-':<16}"
            row += "".join(f"{counts[column]:>12}" for column in self.COLUMNS)
            yield f"{row}  {self._of_numbers((backend, server))}".rstrip()

    def _of_numbers(self, row: tuple[str, str]) -> str:
        """Say how many numbers hold: in all tests that could be run."""
        outcomes = self._faults[row].values()
        held = sum("passed" in of_number and of_number <= {"passed", "impossible"} for of_number in outcomes)
        impossible = sum(of_number == {"impossible"} for of_number in outcomes)
        if not outcomes:
            return ""
        return f"{held} hold" + (f", {impossible} impossible" if impossible else "")
