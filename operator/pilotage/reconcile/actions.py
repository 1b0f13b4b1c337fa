"""Carries out the actions of a decision. Helm works in the background; its end wakes the Implementation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from pilotage.api.v1alpha1.implementation import ImplementationSpec
from pilotage.delivery.helm import HelmAction
from pilotage.kube.resources import IMPLEMENTATIONS
from pilotage.kube.store import Key
from pilotage.plan.facts import ImplementationFacts
from pilotage.plan.module import Action, ActionKind
from pilotage.reconcile.context import Context, deployer


async def carry_out(context: Context, facts: ImplementationFacts, actions: Iterable[Action]) -> None:
    """Start each action. Starting one that already runs is a no-op of the engine."""
    body = facts.body
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    spec = ImplementationSpec.model_validate(body["spec"])
    account = deployer(namespace, spec.service_account_name)
    key = Key(IMPLEMENTATIONS.plural, namespace, name)

    for action in actions:
        if action.kind is ActionKind.UNLOCK:
            await context.rollout.engine.unlock(namespace, action.release, account)
            context.rollout.releases.forget(key, action.release)
            context.wake(key)
            continue

        def ended(release: str = action.release) -> None:
            context.rollout.releases.forget(key, release)
            context.wake(key)

        context.rollout.engine.start(_helm_action(context, facts, action, namespace, account), ended)
        context.rollout.releases.forget(key, action.release)


def _helm_action(
    context: Context,
    facts: ImplementationFacts,
    action: Action,
    namespace: str,
    account: str,
) -> HelmAction:
    inputs = context.rollout.inputs.known(Key(IMPLEMENTATIONS.plural, namespace, facts.body["metadata"]["name"]))
    chart: Any = inputs.charts.get(action.module) if inputs else None
    desired = facts.modules[action.module].desired if action.module in facts.modules else None
    return HelmAction(
        kind=action.kind.value,
        namespace=namespace,
        release=action.release,
        account=account,
        chart=chart,
        values=(inputs.values.get(action.module) if inputs else None) or {},
        input=desired.input if desired else "",
        attempt=facts.attempt,
        implementation=facts.body["metadata"]["name"],
        module=action.module,
        revision=action.revision,
        redact=inputs.redact if inputs else str,
    )


def attempt_of(token: str | None) -> str:
    """The label value that stands for a retry token: 0 for none, else the head of its hash."""
    return hashlib.sha256(token.encode()).hexdigest()[:16] if token else "0"
