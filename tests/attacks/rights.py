"""The operator's rules as its chart grants them, each with the reason that stands above it in the chart."""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

from e2e.cluster.places import REPOSITORY

ROLES = REPOSITORY / "charts/pilotage/templates/operator-role.yaml"


@dataclass(frozen=True)
class Rule:
    """One rule: where it holds, what it allows, and why."""

    scope: str
    groups: tuple[str, ...]
    resources: tuple[str, ...]
    names: tuple[str, ...]
    verbs: tuple[str, ...]
    reason: str

    def covers(self, group: str, resource: str, name: str, verb: str) -> bool:
        return (
            group in self.groups
            and resource in self.resources
            and verb in self.verbs
            and (not self.names or name in self.names)
        )


def operator_rules() -> list[Rule]:
    """All rules of the operator's ClusterRole and of the Role in its own namespace."""
    found = []
    for document in ROLES.read_text().split("\n---\n"):
        kind = re.search(r"^kind: (\w+)$", document, flags=re.MULTILINE)
        if kind is None or kind.group(1) not in {"ClusterRole", "Role"}:
            continue
        scope = "cluster" if kind.group(1) == "ClusterRole" else "its own namespace"
        found += _rules(document.partition("\nrules:\n")[2], scope)
    return found


def _rules(text: str, scope: str) -> list[Rule]:
    found: list[Rule] = []
    reason = ""
    for block in re.findall(r"(?:^  #.*\n)*^  - .*\n(?:^    .*\n?)*", text, flags=re.MULTILINE):
        comment = " ".join(line.strip(" #") for line in block.splitlines() if line.startswith("  #"))
        # A rule without a comment of its own goes with the one before it.
        reason = comment or reason
        (rule,) = yaml.safe_load(block)
        found.append(
            Rule(
                scope,
                tuple(rule["apiGroups"]),
                tuple(rule["resources"]),
                tuple(rule.get("resourceNames", ())),
                tuple(rule["verbs"]),
                reason,
            )
        )
    return found


def rights_table() -> str:
    """The rules in Markdown."""
    lines = ["| Where | What | Verbs | Why |", "|---|---|---|---|"]
    for rule in operator_rules():
        what = ", ".join(
            f"{resource}{'.' + group if group else ''}" for group in rule.groups for resource in rule.resources
        )
        names = f" named {', '.join(rule.names)}" if rule.names else ""
        lines.append(f"| {rule.scope} | {what}{names} | {', '.join(rule.verbs)} | {rule.reason} |")
    return "\n".join(lines)
