"""Files that the command line reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pydantic
import yaml

from pilotage.api.structural import structural_schema
from pilotage.api.unknown import unknown_fields
from pilotage.api.v1alpha1.acceptancecheck import AcceptanceCheckSpec
from pilotage.api.v1alpha1.implementation import ImplementationSpec
from pilotage.api.v1alpha1.migrationjob import MigrationJobSpec
from pilotage.cli.decision import Refusal
from pilotage.cli.requirements import LARGEST, read_csv
from pilotage.kube.resources import IMPLEMENTATIONS

MODELS: Final[dict[str, type[pydantic.BaseModel]]] = {
    "Implementation": ImplementationSpec,
    "MigrationJob": MigrationJobSpec,
    "AcceptanceCheck": AcceptanceCheckSpec,
}


def exported(file: Path) -> list[dict[str, Any]]:
    """The Implementations in what `kubectl get implementations -o yaml` or `pilotage status -o json` wrote."""
    found = [body for body in documents(file) if body.get("kind") == IMPLEMENTATIONS.kind]
    if not found:
        raise Refusal(f"{file}: no Implementation in it; write it with kubectl get implementations -A -o yaml")
    return found


def documents(file: Path) -> list[dict[str, Any]]:
    """The objects of a YAML or JSON file, those of lists one by one."""
    try:
        found = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Refusal(f"{file}: {error}") from error
    flat: list[Any] = []
    for document in found:
        items = document.get("items", [document]) if isinstance(document, dict) else document
        flat += items if isinstance(items, list) else [items]
    return [body for body in flat if isinstance(body, dict)]


def validate(body: Mapping[str, Any]) -> None:
    """Raises Refusal for an object that lacks a name or has a spec that its kind does not allow."""
    name = (body.get("metadata") or {}).get("name")
    if not isinstance(name, str):
        raise Refusal(f"{body['kind']}: metadata.name is missing")
    model = MODELS[body["kind"]]
    try:
        model.model_validate(body.get("spec"))
    except pydantic.ValidationError as error:
        raise Refusal(mistakes(f"{body['kind']} {name}", error)) from error
    unknown = [
        f"  {path}: there is no such field" + (f"; {meant} is one" if meant else "")
        for path, meant in unknown_fields(structural_schema(model), body.get("spec"), "spec")
    ]
    if unknown:
        raise Refusal("\n".join([f"{body['kind']} {name} would be refused:", *unknown]))


def mistakes(subject: str, error: pydantic.ValidationError, root: str = "spec.") -> str:
    """What is wrong, a line for each field by its path."""
    lines = [f"  {root}{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()]
    return "\n".join([f"{subject} would be refused:", *lines])


def read_sheet(sheet: Path) -> list[list[str]]:
    """The rows of a CSV file, or of a workbook's first sheet, as texts. Raises Refusal when it is neither."""
    try:
        size = sheet.stat().st_size
        if size > LARGEST:
            raise Refusal(f"{sheet} has {size} bytes; requirements of at most {LARGEST} bytes are read")
        if sheet.suffix.lower() == ".csv":
            return read_csv(sheet.read_bytes())
    except OSError as error:
        raise Refusal(f"{sheet}: {error.strerror}") from error
    try:
        from python_calamine import CalamineError, load_workbook
    except ImportError as error:
        raise Refusal("a workbook needs python-calamine: pip install 'pilotage[engine]', or save it as CSV") from error
    try:
        workbook = load_workbook(sheet)
        return [[_text(cell) for cell in row] for row in workbook.get_sheet_by_index(0).to_python()]
    except (CalamineError, OSError, ValueError) as error:
        raise Refusal(f"{sheet} is no workbook and no .csv: {error}") from error


def write_sheet(sheet: Path, rows: Sequence[Sequence[str]]) -> None:
    """A new workbook of texts: nothing in it is ever computed. Raises Refusal where there is a file already."""
    try:
        import xlsxwriter
    except ImportError as error:
        raise Refusal("a workbook needs XlsxWriter: pip install 'pilotage[console]'") from error
    try:
        with sheet.open("xb") as file, xlsxwriter.Workbook(file) as book:
            page = book.add_worksheet()
            page.freeze_panes(1, 0)
            page.set_column(0, len(rows[0]) - 1, 18)
            bold, plain = book.add_format({"bold": True}), book.add_format({"num_format": "@"})
            for number, row in enumerate(rows):
                for column, text in enumerate(row):
                    page.write_string(number, column, text, plain if number else bold)
    except FileExistsError as error:
        raise Refusal(f"{sheet} is there already, and it stays as it is") from error
    except OSError as error:
        raise Refusal(f"{sheet}: {error.strerror}") from error


def _text(cell: object) -> str:
    """A cell as it is shown: a number that is whole has no decimal point."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
