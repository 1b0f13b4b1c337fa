"""Prepares what an Implementation's releases are to be: account, charts, values, digests. Observing's slow half."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pilotage.api.v1alpha1.common import RECONCILE_AT, RETRY_AT
from pilotage.api.v1alpha1.implementation import ImplementationSpec, ModuleSpec, ValuesReference, ValuesSourceKind
from pilotage.delivery.chart import Chart, ChartError
from pilotage.kube.client import Forbidden, NotFound
from pilotage.kube.resources import (
    CONFIG_MAPS,
    IMPLEMENTATIONS,
    INGRESS_CLASSES,
    NAMESPACES,
    NODES,
    RESOURCE_QUOTAS,
    SECRETS,
    STORAGE_CLASSES,
)
from pilotage.kube.store import Key
from pilotage.observability.redaction import redact
from pilotage.plan.dag import assign_waves
from pilotage.plan.delivery import input_digest
from pilotage.plan.facts import DesiredRelease, Problem
from pilotage.plan.module import release_name
from pilotage.reconcile.account import read_rights, records_unreadable
from pilotage.reconcile.context import Context, deployer
from pilotage.reconcile.kept import Clock, Kept
from pilotage.render.renderer import ModuleTemplate, RenderError
from pilotage.render.values import (
    ValuesError,
    check_config,
    merge,
    nest,
    parse_document,
    parse_scalar,
    values_digest,
)

logger = logging.getLogger(__name__)

RETRY_PROBLEM_AFTER = 5.0
DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
ENFORCED_LEVEL: Final = "pod-security.kubernetes.io/enforce"

Templates = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
"""The objects of each chart, by the release's name and the digest of chart and values."""


@dataclass(frozen=True)
class ClusterFacts:
    """The cluster as the preflight looks at it."""

    version: str
    nodes: Sequence[Mapping[str, Any]]
    storage_classes: Sequence[str]
    default_storage_class: bool
    ingress_classes: Sequence[str]


@dataclass(frozen=True)
class NamespaceFacts:
    """The customer's namespace as the preflight looks at it. `quotas` None: the account may not read them."""

    quotas: Sequence[Mapping[str, Any]] | None
    pod_security: str


@dataclass(frozen=True)
class Inputs:
    """What was prepared for one Implementation. A module is in `desired` or in `problems`, never in both."""

    problem: Problem | None = None
    rules: Sequence[Mapping[str, Any]] = ()
    cluster: ClusterFacts | None = None
    place: NamespaceFacts | None = None
    desired: Mapping[str, DesiredRelease] = field(default_factory=dict)
    problems: Mapping[str, Problem] = field(default_factory=dict)
    charts: Mapping[str, Chart] = field(default_factory=dict)
    values: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    secrets: Sequence[str] = ()
    templates: Templates = field(default_factory=dict)

    @property
    def manifests(self) -> list[Mapping[str, Any]]:
        """The objects of all modules."""
        return [manifest for objects in self.templates.values() for manifest in objects]

    def redact(self, text: str) -> str:
        """The text without any value that came from a Secret."""
        return redact(text, self.secrets)


class InputPreparer:
    """Prepares inputs and keeps them for about `ttl` seconds, or until spec or request annotations change.

    ConfigMaps and Secrets of tenants are not watched (that would need to read every Secret of the cluster), so a
    change in one of them is taken up when the time to live ends.
    """

    def __init__(self, ttl: float, key: bytes, clock: Clock = time.monotonic) -> None:
        self._key = key
        self._inputs: Kept[Key, Inputs] = Kept(
            lambda found: RETRY_PROBLEM_AFTER if found.problem or found.problems else ttl, clock
        )
        self._cluster: Kept[None, ClusterFacts] = Kept(lambda _found: ttl, clock)

    def known(self, key: Key) -> Inputs | None:
        """The inputs that were prepared last."""
        return self._inputs.known(key)

    def forget(self, key: Key) -> None:
        """The Implementation is gone."""
        self._inputs.forget(key)

    async def prepare(
        self, context: Context, body: Mapping[str, Any], spec: ImplementationSpec, *, fresh: bool
    ) -> Inputs:
        """The inputs as of a moment ago; those of another spec, or of before a request, never."""
        metadata = body["metadata"]
        key = Key(IMPLEMENTATIONS.plural, metadata["namespace"], metadata["name"])
        annotations = metadata.get("annotations") or {}
        stamp = (
            metadata["uid"], metadata.get("generation"), annotations.get(RECONCILE_AT), annotations.get(RETRY_AT)
        )  # fmt: skip
        return await self._inputs.get(
            key, lambda: self._prepare(context, key, spec), lambda: context.wake(key), fresh=fresh, stamp=stamp
        )

    async def _prepare(self, context: Context, key: Key, spec: ImplementationSpec) -> Inputs:
        namespace, name = key.namespace, key.name
        rules, problem = await read_rights(context, namespace, spec.service_account_name)
        if problem:
            return Inputs(problem=problem)
        account = deployer(namespace, spec.service_account_name)
        problems: dict[str, Problem] = {}
        charts: dict[str, Chart] = {}
        layers: dict[str, dict[str, Any]] = {}
        secrets: list[str] = []
        cluster = await self._cluster.get(None, lambda: _read_cluster(context), lambda: context.wake(key), fresh=False)
        place = await _read_namespace(context, namespace, account)
        for module in spec.modules:
            try:
                charts[module.name] = await context.rollout.charts.fetch(module.chart, namespace, account)
                layers[module.name] = await _read_layers(context, module, namespace, account, secrets)
            except ChartError as error:
                problems[module.name] = Problem(error.reason, f"{error.message} (spec.modules[{module.name}].chart)")
            except ValuesError as error:
                problems[module.name] = Problem("ValuesInvalid", str(error))
        values = await self._render(context, name, spec, charts, layers, problems)
        desired: dict[str, DesiredRelease] = {}
        templates: dict[tuple[str, str], Sequence[Mapping[str, Any]]] = {}
        for module in spec.modules:
            if module.name not in values:
                continue
            chart = charts[module.name]
            digest = values_digest(values[module.name], secrets, self._key)
            wanted = DesiredRelease(input_digest(chart.digest, digest), digest, chart.name, chart.version)
            release = release_name(name, module)
            try:
                # A helm process for each module: too dear to repeat for an input that was rendered before.
                found = self._rendered(key, release, wanted) or await _recorded(context, key, release, account, wanted)
                if found is None:
                    found = await context.rollout.engine.template(
                        chart, values[module.name], release, namespace, redact=lambda text: redact(text, secrets)
                    )
            except ChartError as error:
                problems[module.name] = Problem(error.reason, f"{error.message} (spec.modules[{module.name}])")
                continue
            except Forbidden as error:
                return Inputs(problem=records_unreadable(context, namespace, spec.service_account_name, error))
            templates[release, wanted.input] = found
            desired[module.name] = wanted
        return Inputs(
            rules=rules,
            cluster=cluster,
            place=place,
            desired=desired,
            problems=problems,
            charts=charts,
            values=values,
            secrets=tuple(secrets),
            templates=templates,
        )

    def _rendered(self, key: Key, release: str, wanted: DesiredRelease) -> Sequence[Mapping[str, Any]] | None:
        known = self.known(key)
        return known.templates.get((release, wanted.input)) if known else None

    async def _render(
        self,
        context: Context,
        name: str,
        spec: ImplementationSpec,
        charts: Mapping[str, Chart],
        layers: Mapping[str, dict[str, Any]],
        problems: dict[str, Problem],
    ) -> dict[str, dict[str, Any]]:
        waves = assign_waves(spec.modules)
        ordered = sorted(spec.modules, key=lambda module: waves[module.name])
        templates = [_module_template(module, name, spec, charts.get(module.name)) for module in ordered]
        rendered = await context.rollout.renderer.render(templates)
        values: dict[str, dict[str, Any]] = {}
        for module in spec.modules:
            if module.name in problems:
                continue
            if error := rendered.errors.get(module.name):
                problems[module.name] = _render_problem(error)
                continue
            trees, where = rendered.trees[module.name], f"spec.modules[{module.name}]"
            try:
                config = check_config(module.config, trees[f"{where}.config"], where)
            except ValuesError as error:
                problems[module.name] = Problem("ConfigInvalid", str(error))
                continue
            layered = merge(merge(trees["spec.values"], layers[module.name]), trees[f"{where}.values"])
            values[module.name] = merge(layered, config)
        return values


async def _read_cluster(context: Context) -> ClusterFacts:
    version = await context.cluster.server_version()
    nodes = await context.cluster.list(NODES)
    classes = await context.cluster.list(STORAGE_CLASSES)
    ingress = await context.cluster.list(INGRESS_CLASSES)
    default = any((found["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true" for found in classes)
    return ClusterFacts(version, nodes, _names(classes), default, _names(ingress))


def _names(objects: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted(found["metadata"]["name"] for found in objects)


async def _read_namespace(context: Context, namespace: str, account: str) -> NamespaceFacts:
    try:
        quotas: Sequence[Mapping[str, Any]] | None = await context.cluster.list(
            RESOURCE_QUOTAS, namespace, acting_as=account
        )
    except Forbidden:
        quotas = None
    found = await context.cluster.get(NAMESPACES, None, namespace)
    return NamespaceFacts(quotas, (found["metadata"].get("labels") or {}).get(ENFORCED_LEVEL, ""))


def _module_template(
    module: ModuleSpec, implementation: str, spec: ImplementationSpec, chart: Chart | None
) -> ModuleTemplate:
    where = f"spec.modules[{module.name}]"
    return ModuleTemplate(
        name=module.name,
        context={
            "customer": spec.customer.to_manifest(),
            "implementation": {"name": implementation},
            "module": {"name": module.name, "title": module.title or module.name},
            "release": {"name": release_name(implementation, module), "version": chart.version if chart else ""},
            "environment": spec.environment.to_manifest(),
            "values": dict(spec.values),
        },
        outputs={output.name: output.value for output in module.outputs},
        trees={
            "spec.values": dict(spec.values),
            f"{where}.values": dict(module.values),
            f"{where}.config": {item.key: item.value for item in module.config},
        },
    )


def _render_problem(error: RenderError) -> Problem:
    return Problem(error.reason, f"{error.path}: {error.message}")


async def _recorded(
    context: Context, key: Key, release: str, account: str, wanted: DesiredRelease
) -> Sequence[Mapping[str, Any]] | None:
    """What helm recorded when it rendered this very input, so that a restart renders nothing a second time."""
    try:
        facts = await context.rollout.releases.read(context, key, release, account, fresh=False)
    except ValueError:
        return None
    newest = facts.revisions[-1] if facts.revisions else None
    return newest.manifests if newest and newest.input == wanted.input and newest.manifests else None


async def _read_layers(
    context: Context, module: ModuleSpec, namespace: str, account: str, secrets: list[str]
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    texts = await asyncio.gather(
        *(_read_reference(context, reference, namespace, account, module.name) for reference in module.values_from)
    )
    for reference, text in zip(module.values_from, texts, strict=True):
        if text is None:
            continue
        where = f"spec.modules[{module.name}].valuesFrom[{reference.kind} {reference.name}, key {reference.values_key}]"
        if reference.target_path:
            found = nest(reference.target_path, parse_scalar(text))
        else:
            found = parse_document(text, where)
        if reference.kind is ValuesSourceKind.SECRET:
            secrets += _secret_texts(found)
        result = merge(result, found)
    return result


def _secret_texts(tree: Any) -> list[str]:
    if isinstance(tree, Mapping):
        return [text for value in tree.values() for text in _secret_texts(value)]
    if isinstance(tree, list):
        return [text for value in tree for text in _secret_texts(value)]
    return [] if tree is None or isinstance(tree, bool) or tree == "" else [str(tree)]


async def _read_reference(
    context: Context, reference: ValuesReference, namespace: str, account: str, module: str
) -> str | None:
    resource = SECRETS if reference.kind is ValuesSourceKind.SECRET else CONFIG_MAPS
    where = f"spec.modules[{module}].valuesFrom"
    try:
        found = await context.cluster.get(resource, namespace, reference.name, acting_as=account)
    except NotFound as error:
        if reference.optional:
            return None
        raise ValuesError(where, f"{reference.kind} {reference.name} is not there") from error
    except Forbidden as error:
        raise ValuesError(where, error.message) from error
    data = found.get("data") or {}
    if reference.values_key not in data:
        if reference.optional:
            return None
        raise ValuesError(where, f"{reference.kind} {reference.name} has no key {reference.values_key}")
    text = str(data[reference.values_key])
    if resource is SECRETS:
        try:
            text = base64.b64decode(text).decode()
        except UnicodeDecodeError as error:
            raise ValuesError(where, f"Secret {reference.name}, key {reference.values_key} is no text") from error
    return text
