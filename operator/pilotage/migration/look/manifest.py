"""The proposal as YAML, with what was found as comments."""

from __future__ import annotations

from textwrap import indent
from typing import Any

import yaml

from pilotage.api.text import printable
from pilotage.migration.look.examine import Look
from pilotage.migration.look.propose import Proposal, ProposedField
from pilotage.migration.look.show import defect_lines, facts, values_text


def to_yaml(look: Look, proposal: Proposal) -> str:
    """A MigrationJob. Texts out of the file stand only in quoted values and, made printable, in comments."""
    found = proposal.to_manifest()
    checks = {"reconcile": found["spec"].pop("reconcile")}
    (one,) = found["spec"]["objects"]
    fields = zip(one.pop("fields"), proposal.fields, strict=True)
    said = [f"{name}: {text}" for name, text in facts(look)]
    said += [*look.problems, *proposal.notes, *defect_lines(look)]
    return "".join(
        [
            f"# Proposed from {printable(look.path.name, 200)} by pilotage-migrate look. Check it before you load.\n",
            *(f"# {printable(text, 400)}\n" for text in said),
            _block(found),
            "    fields:\n",
            *(f"    - {_flow(manifest)}  # {_comment(field)}\n" for manifest, field in fields),
            indent(_block(checks), "  "),
        ]
    )


def _block(found: dict[str, Any]) -> str:
    return yaml.safe_dump(found, allow_unicode=True, sort_keys=False, width=1000)


def _flow(manifest: dict[str, Any]) -> str:
    return yaml.safe_dump(manifest, allow_unicode=True, sort_keys=False, default_flow_style=True, width=100_000).strip()


def _comment(field: ProposedField) -> str:
    column = field.column
    parts = [f"{column.null_share:.1%} empty"]
    if field.match:
        parts.append(f"{field.match.confidence}: {field.match.why}")
    if values := values_text(column):
        parts.append(values)
    return printable("; ".join(parts), 200)
