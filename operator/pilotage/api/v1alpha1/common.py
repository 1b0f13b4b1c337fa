"""What the kinds share: the base model, the bounded types, conditions, and the markers that the CRD generator reads."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP: Final = "pilotage.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "pilotage"
IMPLEMENTATION_LABEL: Final = f"{GROUP}/implementation"
MODULE_LABEL: Final = f"{GROUP}/module"
MIGRATION_LABEL: Final = f"{GROUP}/migration"
CHECK_LABEL: Final = f"{GROUP}/check"
CUSTOMER_LABEL: Final = f"{GROUP}/customer"
FINALIZER: Final = f"{GROUP}/releases"
RECONCILE_AT: Final = f"{GROUP}/reconcile-at"
RETRY_AT: Final = f"{GROUP}/retry-at"


class ApiModel(BaseModel):
    """Base of every type in the API: camelCase outside, snake_case inside, immutable once read.

    Unknown fields are ignored: the API server refused or pruned them before, and an older operator
    must be able to read what a newer one stored.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, serialize_by_alias=True
    )

    def to_manifest(self) -> dict[str, Any]:
        """The JSON form as the API server stores it: aliases as names, absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def list_map(*keys: str) -> dict[str, Any]:
    """Schema marker of a list whose elements are identified by `keys`: duplicates are refused at apply."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def list_set() -> dict[str, Any]:
    """Schema marker of a list of scalars without duplicates."""
    return {"x-kubernetes-list-type": "set"}


def validations(*rules: tuple[str, str]) -> dict[str, Any]:
    """Schema marker with CEL rules, each a pair of the expression and the message that its failure gives."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def free_form() -> dict[str, Any]:
    """Schema marker of a value whose structure is the user's: kept as it is, not pruned."""
    return {"x-kubernetes-preserve-unknown-fields": True}


DNS_LABEL_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
DURATION_PATTERN: Final = r"^([0-9]{1,6}(ms|s|m|h|d)){1,4}$"
DECIMAL_PATTERN: Final = r"^-?[0-9]{1,18}(\.[0-9]{1,9})?$"
QUANTITY_PATTERN: Final = r"^[0-9]{1,15}(\.[0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"

DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN_PATTERN)]
Duration = Annotated[str, Field(min_length=2, max_length=40, pattern=DURATION_PATTERN)]
Decimal = Annotated[str, Field(min_length=1, max_length=30, pattern=DECIMAL_PATTERN)]
Quantity = Annotated[str, Field(min_length=1, max_length=30, pattern=QUANTITY_PATTERN)]
Title = Annotated[str, Field(max_length=200)]
Text = Annotated[str, Field(max_length=1024)]
Sha256 = Annotated[str, Field(min_length=71, max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
Timestamp = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]

_DURATION_PART = re.compile(r"([0-9]{1,6})(ms|s|m|h|d)")
_UNIT: Final = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@lru_cache(maxsize=4096)
def parse_duration(text: str) -> timedelta:
    """Length of a duration such as `90s`, `1h30m` or `30d`.

    Raises ValueError when the text is not of that form. Days are 24 hours.
    """
    if not re.fullmatch(DURATION_PATTERN, text):
        msg = f"{text!r} is not a duration: write a number and ms, s, m, h or d, such as 90s or 1h30m"
        raise ValueError(msg)
    return sum((timedelta(**{_UNIT[unit]: int(count)}) for count, unit in _DURATION_PART.findall(text)), timedelta())


class LocalReference(ApiModel):
    """An object of the same namespace, by name."""

    name: ObjectName


class ConditionStatus:
    """Values of `Condition.status`."""

    TRUE: Final = "True"
    FALSE: Final = "False"
    UNKNOWN: Final = "Unknown"


class Condition(ApiModel):
    """One observation about an object, as in metav1.Condition. `lastTransitionTime` moves only when `status` flips."""

    type: Annotated[str, Field(max_length=316)]
    status: Annotated[str, Field(json_schema_extra={"enum": ["True", "False", "Unknown"]})]
    observed_generation: Annotated[int, Field(ge=0)] = 0
    last_transition_time: Timestamp
    reason: Annotated[str, Field(min_length=1, max_length=128)]
    message: Annotated[str, Field(max_length=4096)] = ""


Conditions = Annotated[list[Condition], Field(max_length=32, json_schema_extra=list_map("type"))]


class ConditionType:
    """Condition types of all kinds; the first three follow kstatus."""

    READY: Final = "Ready"
    RECONCILING: Final = "Reconciling"
    STALLED: Final = "Stalled"
    ENVIRONMENT_READY: Final = "EnvironmentReady"
    SCOPE_BASELINED: Final = "ScopeBaselined"
    TRAINING_COMPLETE: Final = "TrainingComplete"
    LIVE: Final = "Live"
