"""Role cards: a page for each trained role that says what it works with, what it may do, and why things are so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pilotage.api.v1alpha1.implementation import ImplementationSpec, ModuleSpec
from pilotage.api.v1alpha1.project import Priority, Requirement, TrainingRole
from pilotage.cli.page import bullets, plain, table
from pilotage.cli.words import Language

# What a requirement that is put off or refused would say is no part of what people are trained for.
TAUGHT: Final = frozenset({Priority.MUST, Priority.SHOULD, Priority.COULD})


@dataclass(frozen=True)
class Setting:
    """A business setting as it was decided, and why."""

    module: str
    title: str
    value: str
    rationale: str


@dataclass(frozen=True)
class Card:
    """What one role is taught. `modules` are their names and titles; `asked` are requirements with their rationale."""

    role: str
    title: str
    customer: str
    audience: int
    required: str
    pass_score: int
    modules: Mapping[str, str]
    permissions: Sequence[str]
    settings: Sequence[Setting]
    asked: Mapping[str, str]


def cards_of(spec: ImplementationSpec) -> list[Card]:
    """A card for each role of spec.training."""
    return [_card(spec, role) for role in spec.training.roles]


def _card(spec: ImplementationSpec, role: TrainingRole) -> Card:
    mine = [module for module in spec.modules if not role.modules or module.name in role.modules]
    names = {module.name for module in mine}
    requirements = {found.id: found for found in spec.requirements}
    taught = [found for found in spec.requirements if found.module in names and found.priority in TAUGHT]
    return Card(
        role=role.role,
        title=role.title or role.role,
        customer=spec.customer.name,
        audience=role.audience,
        required=role.required,
        pass_score=role.pass_score,
        modules={module.name: module.title or module.name for module in mine},
        permissions=role.permissions,
        settings=[setting for module in mine for setting in _settings(module, requirements)],
        asked={found.title: found.rationale or "" for found in taught},
    )


def _settings(module: ModuleSpec, requirements: Mapping[str, Requirement]) -> Iterator[Setting]:
    for item in module.config:
        goes_back_to = requirements.get(item.requirement or "")
        rationale = item.rationale or (goes_back_to.rationale if goes_back_to else None) or ""
        values = item.value if isinstance(item.value, list) else [item.value]
        value = ", ".join(str(one) for one in values if one is not None)
        yield Setting(module.title or module.name, item.title or item.key, value, rationale)


def markdown(card: Card, say: Language) -> str:
    """The card as a page of Markdown."""
    sections = {
        "card modules": bullets(f"{title} ({name})" for name, title in card.modules.items()),
        "card permissions": bullets(card.permissions),
        "card settings": table(
            (say("module"), say("setting"), say("value"), say("why")),
            ((found.module, found.title, found.value, found.rationale) for found in card.settings),
        ),
        "card asked": table((say("what"), say("why")), card.asked.items()),
    }
    lines = [f"# {plain(card.title)}", "", say("card of", plain(card.customer), card.audience)]
    for title, content in sections.items():
        if content:
            lines += ["", f"## {say(title)}", "", *content]
    lines += ["", f"## {say('card test')}", "", say("card score", card.pass_score, card.required)]
    return "\n".join(lines) + "\n"
