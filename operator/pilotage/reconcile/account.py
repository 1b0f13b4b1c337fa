"""The tenant's account: whether the operator can act as it, and what it may do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pilotage.kube.client import Forbidden, NotFound
from pilotage.kube.resources import SELF_SUBJECT_RULES_REVIEWS, SERVICE_ACCOUNTS
from pilotage.plan.facts import Problem
from pilotage.reconcile.context import Context, deployer


async def read_rights(
    context: Context, namespace: str, account: str
) -> tuple[Sequence[Mapping[str, Any]], Problem | None]:
    """The account's resource rules in its namespace, or what is in the way and the lines that mend it."""
    user = deployer(namespace, account)
    settings = context.settings
    try:
        await context.cluster.get(SERVICE_ACCOUNTS, namespace, account, acting_as=user)
    except NotFound:
        return (), Problem("ServiceAccountMissing", _advice(settings, namespace, account, "does not exist"))
    except Forbidden as error:
        if not await _is_there(context, namespace, account):
            return (), Problem("ServiceAccountMissing", _advice(settings, namespace, account, "does not exist"))
        if "impersonate" in error.message:
            text = "may not be used by the operator"
            return (), Problem("ImpersonationForbidden", _advice(settings, namespace, account, text))
        return (), Problem("RightsMissing", _advice(settings, namespace, account, "has no rights"))
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    answer = await context.cluster.create_review(SELF_SUBJECT_RULES_REVIEWS, review, acting_as=user)
    return (answer.get("status") or {}).get("resourceRules") or (), None


async def _is_there(context: Context, namespace: str, account: str) -> bool:
    """Asked as the operator itself, for the account that may not be used, or may nothing, cannot tell."""
    try:
        await context.cluster.get(SERVICE_ACCOUNTS, namespace, account)
    except NotFound:
        return False
    return True


def records_unreadable(context: Context, namespace: str, account: str, error: Forbidden) -> Problem:
    """The account may not read the Secrets in which Helm keeps its records."""
    text = f"may not read Helm's release records ({error.message})"
    return Problem("RightsMissing", _advice(context.settings, namespace, account, text))


def _advice(settings: Any, namespace: str, account: str, what: str) -> str:
    bind = f"kubectl -n {namespace} create rolebinding"
    operator = f"{settings.namespace}:{settings.service_account}"
    lines = (
        f"kubectl -n {namespace} create serviceaccount {account}",
        f"{bind} {account} --clusterrole=pilotage-deployer --serviceaccount={namespace}:{account}",
        f"{bind} pilotage-impersonator --clusterrole=pilotage-impersonator --serviceaccount={operator}",
    )
    return f"ServiceAccount {account} of namespace {namespace} {what}. Apply:\n" + "\n".join(lines)
