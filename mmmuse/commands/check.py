"""The command ``mmmuse check``."""

import argparse
import json
import sys
from dataclasses import asdict

from mmmuse.environment.doctor import ERROR, Finding, examine


def main(args: argparse.Namespace) -> None:
    if sys.stderr.isatty():
        print('importing the libraries ...', end='\r', file=sys.stderr, flush=True)
    findings = examine()
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        show(findings)
    if any(finding.state == ERROR for finding in findings):
        sys.exit(1)


def show(findings: list[Finding]) -> None:
    """Print the findings, then what to do, without a library."""
    names = max(len(finding.name) for finding in findings)
    versions = max(len(finding.version) for finding in findings)
    for finding in findings:
        line = (
            f'{finding.state:5}  {finding.name:{names}}  {finding.version:{versions}}  '
            f'{finding.detail}'
        )
        print(line.rstrip())
    remedies = {}
    for finding in findings:
        if finding.remedy:
            remedies.setdefault(finding.remedy, []).append(finding.name)
    for remedy, of in remedies.items():
        print(f'{", ".join(dict.fromkeys(of))}: {remedy}')
    errors = [finding.name for finding in findings if finding.state == ERROR]
    print(
        f'not ready: {", ".join(dict.fromkeys(errors))}'
        if errors
        else 'ready: every command can run'
    )
