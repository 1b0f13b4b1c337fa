"""What we read of a chart's objects, and what it must be: a template may write anything, and a record may be forged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from pilotage.plan.quantity import parse_quantity

COPIES: Final = 2**31 - 1


def _is_quantity(value: str | float) -> str | float:
    parse_quantity(value)
    return value


class _Shape(BaseModel):
    """A part of an object. Other fields are the API server's business."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")


_Amounts = dict[str, Annotated[str | int | float, AfterValidator(_is_quantity)]]
_Words = dict[str, str]


class _Resources(_Shape):
    requests: _Amounts | None = None
    limits: _Amounts | None = None


class _Container(_Shape):
    resources: _Resources | None = None


class _PodSpec(_Shape):
    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None


class _Template(_Shape):
    spec: _PodSpec | None = None


class _ClaimSpec(_Shape):
    storage_class_name: str | None = None


class _Claim(_Shape):
    spec: _ClaimSpec | None = None


class _WorkloadSpec(_Shape):
    replicas: Annotated[int, Field(ge=0, le=COPIES)] | None = None
    parallelism: Annotated[int, Field(ge=0, le=COPIES)] | None = None
    template: _Template | None = None
    volume_claim_templates: list[_Claim] | None = None


class _Workload(_Shape):
    spec: _WorkloadSpec | None = None


class _Metadata(_Shape):
    name: str
    namespace: str | None = None
    labels: _Words | None = None
    annotations: _Words | None = None


class _Object(_Shape):
    api_version: str
    kind: str
    metadata: _Metadata


KINDS: Final[Mapping[str, type[_Shape]]] = {
    "Deployment": _Workload,
    "StatefulSet": _Workload,
    "DaemonSet": _Workload,
    "Job": _Workload,
    "PersistentVolumeClaim": _Claim,
}


def check_shape(document: Any) -> None:
    """Raises ValueError, with the field's path, where the object is not what we would read it as."""
    if not isinstance(document, dict):
        msg = f"a {type(document).__name__} where an object is expected"
        raise ValueError(msg)  # noqa: TRY004 (callers know one error for all that a manifest can hold)
    try:
        found = _Object.model_validate(document)
        if shape := KINDS.get(found.kind):
            shape.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        metadata = document.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else ""
        msg = f"{document.get('kind')!s:.60} {name!s:.60}: {path[:120]}: {first['msg'][:120]}"
        raise ValueError(msg) from error
