"""Adds up JUnit reports and prints `N passed, M failed`; exits with 1 unless something ran and all of it passed.

A test that was skipped, and a report that is missing or empty, count as failed: a client that could not be tried has not
been shown to work.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree


def count(report: str) -> tuple[int, int]:
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        print(f"no report: {report}: {error}", file=sys.stderr)
        return 0, 1
    failed = sum(any(case.find(kind) is not None for kind in ("failure", "error", "skipped")) for case in cases)
    return len(cases) - failed, failed if cases else 1


def main() -> None:
    counts = [count(report) for report in sys.argv[1:]]
    passed, failed = (sum(numbers) for numbers in zip(*counts))
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
