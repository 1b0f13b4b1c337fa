"""The preflight: what the customer's cluster must offer, judged from measured facts, each failure with its remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from pilotage.api.v1alpha1.implementation import (
    AssessmentCheck,
    AssessmentResult,
    DatabaseExpectations,
    EnvironmentExpectations,
    Remedy,
)
from pilotage.plan.pod_security import pod_violations
from pilotage.plan.quantity import format_memory, parse_quantity, requests_of

MINIMUM_KUBERNETES: Final = (1, 33)

# What Helm does with its release records; without `update` a release stays pending for ever,
# without `delete` an upgrade fails once the history is full.
HELM_RIGHTS: Final = (("", "secrets", ("get", "list", "create", "update", "delete")),)

# What the operator itself does in the namespace, as the tenant's account.
PILOTAGE_RIGHTS: Final = (
    ("", "configmaps", ("get", "create", "patch", "delete")),
    ("", "pods", ("get", "list")),
    ("", "pods/log", ("get",)),
    ("batch", "jobs", ("get", "create", "delete")),
)

# Kinds whose resource name and group are known; others are left to the API server's own answer.
KNOWN_KINDS: Final = {
    "ConfigMap": ("", "configmaps"),
    "Secret": ("", "secrets"),
    "Service": ("", "services"),
    "ServiceAccount": ("", "serviceaccounts"),
    "PersistentVolumeClaim": ("", "persistentvolumeclaims"),
    "Deployment": ("apps", "deployments"),
    "StatefulSet": ("apps", "statefulsets"),
    "DaemonSet": ("apps", "daemonsets"),
    "Job": ("batch", "jobs"),
    "CronJob": ("batch", "cronjobs"),
    "Ingress": ("networking.k8s.io", "ingresses"),
    "NetworkPolicy": ("networking.k8s.io", "networkpolicies"),
    "Role": ("rbac.authorization.k8s.io", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io", "rolebindings"),
    "PodDisruptionBudget": ("policy", "poddisruptionbudgets"),
    "HorizontalPodAutoscaler": ("autoscaling", "horizontalpodautoscalers"),
}


# What a database is asked beside whether it answers. PostgreSQL's encoding is that of the database, not the server's.
DATABASE_QUERIES: Final = {
    "version": "select current_setting('server_version_num')",
    "charset": "select current_setting('server_encoding')",
    "maxConnections": "select current_setting('max_connections')",
    "timeZone": "select current_setting('TimeZone')",
}


@dataclass(frozen=True)
class ConnectionProbe:
    """What the probe Job found out about one connection; `reachable` None while it has not answered.

    `settings` are the answers to DATABASE_QUERIES, asked only where the connection says what it `expects`.
    """

    name: str
    reachable: bool | None
    message: str = ""
    expects: DatabaseExpectations | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EnvironmentFacts:
    """The cluster as measured. `quotas` are the namespace's, None where the account may not read them; `pod_security`
    is the level that the namespace enforces, empty without one.
    """

    version: str
    nodes: Sequence[Mapping[str, Any]]
    storage_classes: Sequence[str]
    rules: Sequence[Mapping[str, Any]]
    manifests: Sequence[Mapping[str, Any]] = ()
    ingress_classes: Sequence[str] = ()
    default_storage_class: bool = True
    quotas: Sequence[Mapping[str, Any]] | None = ()
    pod_security: str = ""
    probes: Sequence[ConnectionProbe] = field(default=())


def assess(expects: EnvironmentExpectations, facts: EnvironmentFacts, deployer: str) -> list[AssessmentCheck]:
    """All checks in a fixed order; one that could not be measured is Unknown, which is never a pass."""
    cpu, memory = requests_of(facts.manifests, len(facts.nodes))
    return [
        _version(expects, facts.version),
        _capacity("cpu", "cores", cpu, expects.cpu, facts.nodes),
        _capacity("memory", "", memory, expects.memory, facts.nodes),
        _storage(expects, facts),
        _ingress(expects, facts),
        _architecture(expects, facts),
        _quota(facts, cpu, memory),
        _pod_security(facts),
        _permissions(facts, deployer),
        *(check for probe in facts.probes for check in _connection(probe)),
    ]


# Without rights, a supported version and databases that answer nothing can go well. The nearest way out comes first.
STRICT: Final = frozenset({"kubernetes-version", "permissions"})
REMEDIES: Final = {
    "kubernetes-version": (Remedy.UPGRADE_IN_STAGES, Remedy.HOST_IN_CLOUD),
    "cpu": (Remedy.RESIZE, Remedy.REDUCE_SCOPE, Remedy.HOST_IN_CLOUD),
    "memory": (Remedy.RESIZE, Remedy.REDUCE_SCOPE, Remedy.HOST_IN_CLOUD),
    "storage-class": (Remedy.ADD_MIDDLEWARE, Remedy.CUSTOMER_ACTION),
    "ingress-class": (Remedy.ADD_MIDDLEWARE, Remedy.CUSTOMER_ACTION),
    "architecture": (Remedy.CUSTOMER_ACTION, Remedy.HOST_IN_CLOUD),
    "quota": (Remedy.RESIZE, Remedy.REDUCE_SCOPE),
}


def _is_strict(name: str) -> bool:
    return name in STRICT or name.startswith("connection-")


def _passed(name: str, message: str) -> AssessmentCheck:
    return AssessmentCheck(name=name, result=AssessmentResult.PASS, strict=_is_strict(name), message=message)


def _unknown(name: str, message: str) -> AssessmentCheck:
    return AssessmentCheck(name=name, result=AssessmentResult.UNKNOWN, strict=_is_strict(name), message=message)


def _failed(name: str, message: str, remedy: str, remedies: Sequence[Remedy] = ()) -> AssessmentCheck:
    return AssessmentCheck(
        name=name,
        result=AssessmentResult.FAIL,
        strict=_is_strict(name),
        message=message[:1000],
        remedy=remedy,
        remedies=list(remedies or REMEDIES.get(name, (Remedy.CUSTOMER_ACTION,))),
    )


def _version(expects: EnvironmentExpectations, version: str) -> AssessmentCheck:
    wanted = MINIMUM_KUBERNETES
    if expects.kubernetes:
        major, minor = re.findall(r"[0-9]+", expects.kubernetes)[:2]
        wanted = max(wanted, (int(major), int(minor)))
    found = re.match(r"v?([0-9]+)\.([0-9]+)", version)
    text = f"Kubernetes {version}, wanted at least {wanted[0]}.{wanted[1]}"
    if found and (int(found.group(1)), int(found.group(2))) >= wanted:
        return _passed("kubernetes-version", text)
    return _failed("kubernetes-version", text, "upgrade the cluster, or lower environment.expects.kubernetes")


def _capacity(
    resource: str, unit: str, requested: Decimal, expected: str | None, nodes: Iterable[Mapping[str, Any]]
) -> AssessmentCheck:
    allocatable = sum(
        (parse_quantity(((node.get("status") or {}).get("allocatable") or {}).get(resource, "0")) for node in nodes),
        Decimal(0),
    )
    needed = max(requested, parse_quantity(expected) if expected else Decimal(0))

    def show(amount: Decimal) -> str:
        return format_memory(amount) if resource == "memory" else f"{amount.normalize():f} {unit}"

    text = f"{show(allocatable)} allocatable, {show(needed)} needed (the modules request {show(requested)})"
    if allocatable >= needed:
        return _passed(resource, text)
    return _failed(resource, text, f"add nodes, or lower the modules' {resource} requests in their values")


def _storage(expects: EnvironmentExpectations, facts: EnvironmentFacts) -> AssessmentCheck:
    used = {
        claim["spec"]["storageClassName"]
        for manifest in facts.manifests
        for claim in _claims(manifest)
        if (claim.get("spec") or {}).get("storageClassName")
    }
    wanted = sorted(used | ({expects.storage_class} if expects.storage_class else set()))
    missing = [name for name in wanted if name not in facts.storage_classes]
    if missing:
        there = ", ".join(facts.storage_classes) or "none"
        text = f"StorageClass {', '.join(missing)} is not there; the cluster has: {there}"
        return _failed("storage-class", text, "create it, or name one that exists in environment.expects.storageClass")
    unnamed = [claim for manifest in facts.manifests for claim in _claims(manifest) if _takes_default(claim)]
    if unnamed and not facts.default_storage_class:
        text = f"{len(unnamed)} volume claims name no StorageClass, and the cluster has no default one"
        return _failed("storage-class", text, "mark a StorageClass as the default one, or name one in the values")
    return _passed("storage-class", f"StorageClass {', '.join(wanted)} is there" if wanted else "none is asked for")


def _takes_default(claim: Mapping[str, Any]) -> bool:
    spec = claim.get("spec") or {}
    return spec.get("storageClassName") is None and not spec.get("volumeName")


def _ingress(expects: EnvironmentExpectations, facts: EnvironmentFacts) -> AssessmentCheck:
    used = {
        (found.get("spec") or {}).get("ingressClassName") for found in facts.manifests if found.get("kind") == "Ingress"
    }
    wanted = sorted({name for name in used if name} | ({expects.ingress_class} if expects.ingress_class else set()))
    if missing := [name for name in wanted if name not in facts.ingress_classes]:
        there = ", ".join(facts.ingress_classes) or "none"
        text = f"IngressClass {', '.join(missing)} is not there; the cluster has: {there}"
        return _failed("ingress-class", text, "install that ingress controller, or name one that is there")
    return _passed("ingress-class", f"IngressClass {', '.join(wanted)} is there" if wanted else "none is asked for")


def _architecture(expects: EnvironmentExpectations, facts: EnvironmentFacts) -> AssessmentCheck:
    found = sorted({_architecture_of(node) for node in facts.nodes} - {""})
    if expects.arch is None:
        return _passed("architecture", f"none is asked for; the nodes are {', '.join(found) or 'not known'}")
    if others := [name for name in found if name != expects.arch]:
        text = f"there are nodes of {', '.join(others)}, wanted {expects.arch} alone"
        return _failed("architecture", text, "keep the pods off these nodes, or have images for them")
    return _passed("architecture", f"all nodes are {expects.arch}")


def _architecture_of(node: Mapping[str, Any]) -> str:
    return str(((node.get("status") or {}).get("nodeInfo") or {}).get("architecture") or "")


def _quota(facts: EnvironmentFacts, cpu: Decimal, memory: Decimal) -> AssessmentCheck:
    """Whether the modules together fit: what others in the namespace use is not counted, so a pass promises no room."""
    if facts.quotas is None:
        return _unknown("quota", "the account may not read the namespace's ResourceQuotas")
    needed = {"cpu": cpu, "requests.cpu": cpu, "memory": memory, "requests.memory": memory}
    short = [
        f"{quota['metadata']['name']} allows {resource} {limit}, the modules want {_shown(resource, needed[resource])}"
        for quota in facts.quotas
        for resource, limit in ((quota.get("spec") or {}).get("hard") or {}).items()
        if resource in needed and parse_quantity(limit) < needed[resource]
    ]
    if short:
        return _failed("quota", "; ".join(short), "raise the ResourceQuota, or lower the modules' requests")
    names = ", ".join(quota["metadata"]["name"] for quota in facts.quotas)
    return _passed(
        "quota", f"the modules' requests fit into {names}" if names else "the namespace has no ResourceQuota"
    )


def _shown(resource: str, amount: Decimal) -> str:
    return format_memory(amount) if resource.endswith("memory") else f"{amount.normalize():f} cores"


def _pod_security(facts: EnvironmentFacts) -> AssessmentCheck:
    level = facts.pod_security
    if level not in {"baseline", "restricted"}:
        return _passed("pod-security", "the namespace enforces no Pod Security level")
    if found := list(pod_violations(facts.manifests, level)):
        text = f"the namespace enforces {level}, which refuses pods of {'; '.join(found)}"
        return _failed("pod-security", text, "set the pods' securityContext in the values, or have the level lowered")
    return _passed("pod-security", f"no rendered pod violates {level}")


def _claims(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if manifest.get("kind") == "PersistentVolumeClaim":
        return [manifest]
    if manifest.get("kind") != "StatefulSet":
        return []
    return (manifest.get("spec") or {}).get("volumeClaimTemplates") or []


def _permissions(facts: EnvironmentFacts, deployer: str) -> AssessmentCheck:
    needed = list(HELM_RIGHTS + PILOTAGE_RIGHTS)
    for kind in sorted({manifest.get("kind", "") for manifest in facts.manifests}):
        if kind in KNOWN_KINDS:
            needed.append((*KNOWN_KINDS[kind], ("get", "create", "patch", "delete")))
    missing = [
        f"{verb} {resource}{'.' + group if group else ''}"
        for group, resource, verbs in needed
        for verb in verbs
        if not allows(facts.rules, verb, group, resource)
    ]
    if not missing:
        return _passed("permissions", f"{deployer} may do what Helm and the charts need")
    text = f"{deployer} may not: {', '.join(dict.fromkeys(missing))}"
    return _failed("permissions", text, "bind ClusterRole pilotage-deployer, or one with these rights, to it")


def allows(rules: Iterable[Mapping[str, Any]], verb: str, group: str, resource: str) -> bool:
    """Whether the resource rules of a SelfSubjectRulesReview allow the verb on all objects of the resource."""

    def covers(found: Iterable[str], wanted: str) -> bool:
        return "*" in found or wanted in found

    return any(
        covers(rule.get("verbs") or [], verb)
        and covers(rule.get("apiGroups") or [], group)
        and covers(rule.get("resources") or [], resource)
        and not rule.get("resourceNames")
        for rule in rules
    )


def _connection(probe: ConnectionProbe) -> list[AssessmentCheck]:
    """Whether it answers, and once it has, whether it offers what is expected of it."""
    name = f"connection-{probe.name}"
    if probe.reachable is None:
        return [_unknown(name, probe.message or "the probe has not answered yet")]
    if not probe.reachable:
        remedy = "check address, user and password in the connection's Secret, and that the network lets pods through"
        return [_failed(name, probe.message, remedy)]
    answers = _passed(name, "it answers")
    return [answers, _database(probe.name, probe.expects, probe.settings)] if probe.expects else [answers]


def _database(connection: str, expects: DatabaseExpectations, settings: Mapping[str, str]) -> AssessmentCheck:
    """A server's answers are taken for what they may be: one that is no number is less than any."""
    name, short, ways = f"database-{connection}", [], []
    number = _number(settings.get("version", ""))
    # PostgreSQL numbers 16.3 as 160003.
    found = (number // 10000, number % 10000)
    if expects.version:
        major, *minor = (int(part) for part in re.findall(r"[0-9]+", expects.version))
        if found < (major, *minor):
            short.append(f"version {found[0]}.{found[1]}, wanted {expects.version}")
            ways.append(Remedy.UPGRADE_IN_STAGES)
    charset = settings.get("charset", "")
    if expects.charset and charset.lower() != expects.charset.lower():
        short.append(f"character set {charset or 'not known'}, wanted {expects.charset}")
        ways.append(Remedy.CUSTOMER_ACTION)
    connections = _number(settings.get("maxConnections", ""))
    if expects.max_connections and connections < expects.max_connections:
        short.append(f"max_connections {connections}, wanted at least {expects.max_connections}")
        ways.append(Remedy.RESIZE)
    if short:
        remedy = f"change the server, or what spec.connections[{connection}].expects says"
        return _failed(name, "; ".join(short), remedy, ways)
    text = f"version {found[0]}.{found[1]}, {charset}, {connections} connections, time zone {settings.get('timeZone')}"
    return _passed(name, text[:1000])


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) else 0
