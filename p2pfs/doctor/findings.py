"""What was found out about one thing, and all of it together: the values that doctor shows.

Pure.  What makes a finding good or bad is for `judging`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """One check: with `warn` a node works, but not as well as it might; with `fail` it does not.

    `fix` is what to do, empty where nothing need be done.
    """

    subject: str
    verdict: Verdict
    says: str
    fix: str = ""


class Report(msgspec.Struct, frozen=True):
    """All checks; `healthy` unless one of them failed.

    `doctor --json` prints exactly this; fields are only ever added.
    """

    healthy: bool
    findings: list[Finding]


def report(findings: list[Finding]) -> Report:
    """The findings with what they come to."""
    return Report(all(finding.verdict != "fail" for finding in findings), findings)
