"""The outcome of a soak, as JSON and as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tests.soak import accounts

if TYPE_CHECKING:
    from tests.soak.chaos import Chaos
    from tests.soak.judge import Judge
    from tests.soak.run import Plan
    from tests.soak.server import Server

# What a reader wants to see a zero of; other rules are shown where they were broken.
RULES = (
    "wrong bytes", "wrong status", "wrong fields", "wrong length", "torn body", "no answer",
    "no end",
    "purged version", "softly purged version not as stale", "outdated version", "purge refused",
    "worker not replaced", "replica not well", "exit status", "traceback", "counter went backwards",
    "metrics and clients differ", "metrics and origin differ", "origin asked too often",
    "memory grew", "descriptors grew", "threads grew", "no rest",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Life:
    """What one server used and counted; memory in bytes of all its processes."""

    replica: int
    seconds: float
    memory: list[int]
    descriptors: list[int]
    threads: list[int]
    processes: int
    metrics: dict[str, float]

    @classmethod
    def of(cls, server: Server) -> Life:
        samples = server.samples
        every = max(1, len(samples) // 30)
        return cls(
            server.number,
            round(samples[-1].at - samples[0].at, 1) if samples else 0.0,
            [each.memory for each in samples[::every]],
            [each.descriptors for each in server.quiet],
            [each.threads for each in server.quiet],
            max((each.processes for each in samples), default=0),
            accounts.summary(server.last),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was counted."""

    plan: dict[str, Any]
    seconds: float
    answers: dict[str, int]
    wrong: dict[str, int]
    excused: dict[str, int]
    done: dict[str, int]
    judged_across: int
    reopened: int
    examples: list[str]
    lives: list[Life]

    @classmethod
    def of(
        cls, plan: Plan, seconds: float, judge: Judge, chaos: Chaos, lives: list[Life]
    ) -> Report:
        rules = dict.fromkeys(RULES, 0) | dict(judge.wrong)
        return cls(
            asdict(plan), round(seconds, 1), dict(judge.statuses.most_common()), rules,
            dict(judge.excused.most_common()), dict(sorted(chaos.done.items())),
            judge.judged_across,
            chaos.clients.reopened, judge.examples, lives,
        )  # fmt: skip

    @property
    def passed(self) -> bool:
        return not any(self.wrong.values())

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.passed}

    def table(self) -> str:
        """For people."""
        answers = sum(self.answers.values())
        lines = [
            f"soak of {self.seconds:.0f} s, {answers} answers ({answers / self.seconds:.0f}/s)",
            f"{self.plan}",
            *_section("answers", self.answers),
            *_section("done to it", self.done),
            *_section("failures with an excuse", self.excused),
            f"  {'asked again on a new connection':44}{self.reopened:>10}",
            f"  {'comparisons with purges of other replicas':44}{self.judged_across:>10}",
        ]
        for number, life in enumerate(self.lives, 1):
            memory = [
                f"{each / 2**20:.0f}" for each in life.memory[:: max(1, len(life.memory) // 8)]
            ]
            lines.append(
                f"server {number}, replica {life.replica}: {life.seconds:.0f} s, "
                f"{life.processes} processes, MiB {' '.join(memory)}; "
                f"at rest descriptors {life.descriptors}, threads {life.threads}"
            )
        lines += _section("wrong", self.wrong)
        lines += self.examples
        lines.append("PASSED" if self.passed else "FAILED")
        return "\n".join(lines)


def _section(title: str, counts: dict[str, int]) -> list[str]:
    return [title, *(f"  {name:44}{count:>10}" for name, count in counts.items())]
