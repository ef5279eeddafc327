"""Makes a skipped test fail the session where every test is supposed to run.

That is with `CI=true` or `S3PROXY_NO_SKIPS=1`: a skip there is a missing requirement that
nobody would notice.
"""

import os

import pytest


def _unwanted_skips(config: pytest.Config) -> list[str]:
    if os.environ.get("CI") != "true" and os.environ.get("S3PROXY_NO_SKIPS") != "1":
        return []
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return []
    return [report.nodeid for report in reporter.stats.get("skipped", [])]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _unwanted_skips(session.config) and session.exitstatus in (
        pytest.ExitCode.OK,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    skipped = _unwanted_skips(config)
    if not skipped:
        return
    terminalreporter.section("skipped tests fail this session", red=True, bold=True)
    for nodeid in skipped:
        terminalreporter.line(nodeid)
