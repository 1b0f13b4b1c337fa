"""The manifests that open a new customer's namespace and begin a project there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pilotage.api.v1alpha1.common import API_VERSION
from pilotage.api.v1alpha1.implementation import ImplementationSpec, ModuleSpec
from pilotage.api.v1alpha1.project import Contact, ContactRole, Profile
from pilotage.cli.decision import Refusal

RBAC: Final = "rbac.authorization.k8s.io"
DEPLOYER: Final = "pilotage-deployer"
ROLES: Final = {
    ContactRole.ENGINEER: "edit",
    ContactRole.PROJECT_MANAGER: "pilotage-project-manager",
    ContactRole.CUSTOMER_LEAD: "pilotage-signatory",
    ContactRole.DATA_OWNER: "pilotage-signatory",
    ContactRole.OPERATIONS: "pilotage-signatory",
    ContactRole.SUPERVISOR: "pilotage-signatory",
}
"""What a person of that role may do in the namespace; all others may look."""


@dataclass(frozen=True)
class Opening:
    """The answers about a new customer. `operator`: namespace and name of the operator's account."""

    code: str
    customer: str
    namespace: str
    name: str
    modules: Sequence[ModuleSpec]
    contacts: Sequence[Contact] = ()
    profile: Profile | None = None
    operator: tuple[str, str] = ("pilotage-system", "pilotage")


def parse_module(text: str) -> ModuleSpec:
    """A module from `NAME=CHART` or `NAME@WAVE=CHART`. Raises Refusal for anything else.

    CHART is `oci://HOST/PATH:VERSION`, `https://REPOSITORY#CHART:VERSION` or `configmap/NAME`.
    """
    found = re.fullmatch(r"([a-z0-9-]+)(?:@([0-9]+))?=(.+)", text)
    source = _chart(found[3]) if found else None
    if found is None or source is None:
        raise Refusal(
            f"{text!r} is no module: write NAME=CHART or NAME@WAVE=CHART with oci://HOST/PATH:VERSION, "
            "https://REPOSITORY#CHART:VERSION or configmap/NAME"
        )
    try:
        wave = int(found[2]) if found[2] else None
        return ModuleSpec.model_validate({"name": found[1], "wave": wave, "chart": source})
    except ValueError as error:
        raise Refusal(f"{text!r} is no module: {error}") from error


def _chart(text: str) -> dict[str, Any] | None:
    if text.startswith("configmap/"):
        return {"configMapRef": {"name": text.removeprefix("configmap/")}}
    if found := re.fullmatch(r"(oci://[^#]+):([^:/]+)", text):
        return {"oci": found[1], "version": found[2]}
    if found := re.fullmatch(r"(https?://[^#]+)#([^#:]+):([^:/]+)", text):
        return {"repository": found[1], "name": found[2], "version": found[3]}
    return None


def parse_contact(text: str) -> Contact:
    """A contact from `ROLE:ID:NAME` or `ROLE:ID:NAME:USER`. Raises Refusal for anything else."""
    role, _, rest = text.partition(":")
    identity, _, rest = rest.partition(":")
    name, _, subject = rest.partition(":")
    try:
        return Contact.model_validate({"role": role, "id": identity, "name": name or None, "subject": subject or None})
    except ValueError as error:
        known = ", ".join(ContactRole)
        raise Refusal(
            f"{text!r} is no contact: write ROLE:ID:NAME or ROLE:ID:NAME:USER, such as CustomerLead:wang:王强:"
            f"wang@huasheng.example; roles are {known}"
        ) from error


def manifests(opening: Opening) -> Iterator[dict[str, Any]]:
    """Namespace, account, bindings and Implementation, in the order in which they are to be applied."""
    place = {"namespace": opening.namespace}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": opening.namespace}}
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEPLOYER, **place}}
    tenant = {"kind": "ServiceAccount", "name": DEPLOYER, **place}
    yield _binding(opening.namespace, DEPLOYER, DEPLOYER, [tenant])
    home, account = opening.operator
    operator = {"kind": "ServiceAccount", "name": account, "namespace": home}
    yield _binding(opening.namespace, "pilotage-impersonator", "pilotage-impersonator", [operator])
    by_role: dict[str, list[dict[str, Any]]] = {}
    for contact in opening.contacts:
        if contact.subject:
            user = {"kind": "User", "apiGroup": RBAC, "name": contact.subject}
            by_role.setdefault(ROLES.get(contact.role, "view"), []).append(user)
    for role, people in sorted(by_role.items()):
        yield _binding(opening.namespace, f"pilotage-people-{role.removeprefix('pilotage-')}", role, people)
    spec = ImplementationSpec.model_validate(
        {
            "customer": {"code": opening.code, "name": opening.customer},
            "profile": opening.profile,
            "contacts": [contact.to_manifest() for contact in opening.contacts],
            "modules": [module.to_manifest() for module in opening.modules],
        }
    )
    yield {
        "apiVersion": API_VERSION,
        "kind": "Implementation",
        "metadata": {"name": opening.name, **place},
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True),
    }


def _binding(namespace: str, name: str, role: str, subjects: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": list(subjects),
    }
