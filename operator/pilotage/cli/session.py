"""One call of the command line: the cluster that it means, and how it answers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from pilotage.cli.show import console
from pilotage.cli.words import Language
from pilotage.kube.official import OfficialCluster


@dataclass(frozen=True)
class Session:
    """One call: the cluster if it needs one, the namespace that is meant, and how to answer."""

    arguments: argparse.Namespace
    connected: OfficialCluster | None
    namespace: str
    say: Language

    @property
    def cluster(self) -> OfficialCluster:
        """The cluster; only of a call that is not offline."""
        if self.connected is None:
            raise AssertionError(self.arguments.command)
        return self.connected

    def answer(self, document: Any, shown: Callable[[], Any]) -> None:
        """Print as the machine or the person wants it."""
        match self.arguments.output:
            case "json":
                sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
            case "yaml":
                yaml.safe_dump(document, sys.stdout, allow_unicode=True, sort_keys=False)
            case _:
                console(sys.stdout).print(shown())
