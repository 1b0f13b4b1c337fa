"""`pilotage`: where projects stand, who has to do what, and decisions about gates."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from pathlib import Path
from typing import NoReturn

import shtab

from pilotage.api.v1alpha1.attestation import AttestationType, DefectSeverity, DefectState, Outcome
from pilotage.api.v1alpha1.common import DURATION_PATTERN
from pilotage.api.v1alpha1.project import GateName, Profile
from pilotage.cli.attesting import attest
from pilotage.cli.decision import Refusal
from pilotage.cli.looking import export, portfolio, report, status, watch
from pilotage.cli.offline import cards, completion, explain, import_, init, plan, simulate
from pilotage.cli.session import Session
from pilotage.cli.signing import JUDGED_WITHIN, approve, reject, rollback, waive
from pilotage.cli.words import LANGUAGES, Language, language
from pilotage.kube.client import ApiError, NotFound
from pilotage.kube.official import connect, known_contexts


def _gate(text: str) -> GateName:
    for name in GateName:
        if name.lower() == text.lower():
            return name
    msg = f"{text!r} is no gate; gates are {', '.join(GateName)}"
    raise argparse.ArgumentTypeError(msg)


def _duration(text: str) -> str:
    if not re.fullmatch(DURATION_PATTERN, text):
        raise argparse.ArgumentTypeError(f"{text} is no duration such as 36h or 7d")
    return text


def _signing_options() -> argparse.ArgumentParser:
    signing = argparse.ArgumentParser(add_help=False)
    signing.add_argument("name", metavar="IMPLEMENTATION")
    signing.add_argument(
        "gate", nargs="?", type=_gate, metavar="GATE", help="such as GoLiveApproved; default: the only one that waits"
    )
    place = signing.add_mutually_exclusive_group()
    place.add_argument("--wave", type=int)
    place.add_argument("--module")
    signing.add_argument("--digest", help="what you have looked at; refused if it is another one by now")
    _recording_options(signing)
    signing.add_argument(
        "--wait", type=float, default=JUDGED_WITHIN, metavar="SECONDS", help="for the operator's view; default: 30"
    )
    return signing


def _recording_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", metavar="CONTACT", help="whose decision it is; default: the contact who you are")
    parser.add_argument(
        "--evidence", action="append", default=[], metavar="URL=SHA256", help="the signed paper; may be repeated"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="print what would be recorded")


def _attest_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="IMPLEMENTATION")
    parser.add_argument("type", choices=list(AttestationType), metavar="TYPE", help=", ".join(AttestationType))
    parser.add_argument("subject", nargs="?", metavar="SUBJECT", help="test case, event, step, number or session")
    parser.add_argument("--module", help="whose cutover the step belongs to")
    parser.add_argument("--role", help="of spec.training.roles: who was trained")
    parser.add_argument("--completed", type=int, metavar="N", help="people who took part to the end")
    parser.add_argument("--passed", type=int, metavar="N", help="those of them who passed")
    parser.add_argument("--outcome", choices=list(Outcome), help="of the test case, event or step")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="outcomes of test cases, as test tools write them")
    parser.add_argument("--severity", choices=list(DefectSeverity), help="of the defect")
    parser.add_argument("--state", choices=list(DefectState), help="of the defect")
    parser.add_argument("--by", metavar="CONTACT", help="who states it; default: the contact who you are")
    parser.add_argument("--at", metavar="TIME", help="when it happened, such as 2026-12-31 or 2026-12-31T12:00:00Z")
    parser.add_argument("--note")
    parser.add_argument(
        "--evidence", action="append", default=[], metavar="URL=SHA256", help="a document; may be repeated"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be recorded")


def _init_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(offline=True)
    parser.add_argument("code", metavar="CODE", help="the customer's short name, such as huasheng")
    parser.add_argument("--customer", metavar="NAME", help="the customer's name")
    parser.add_argument("--name", default="erp", metavar="IMPLEMENTATION", help="default: erp")
    parser.add_argument(
        "--module", action="append", default=[], metavar="NAME[@WAVE]=CHART",
        help="oci://HOST/PATH:VERSION, https://REPOSITORY#CHART:VERSION or configmap/NAME; may be repeated",
    )  # fmt: skip
    parser.add_argument("--contact", action="append", default=[], metavar="ROLE:ID:NAME[:USER]", help="may be repeated")
    parser.add_argument("--profile", choices=list(Profile), help="which gates persons decide; default: none")
    parser.add_argument("--operator", default="pilotage-system/pilotage", metavar="NAMESPACE/ACCOUNT")
    parser.add_argument("-f", "--file", type=Path, help="default: standard output")


def _simulate_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(offline=True)
    parser.add_argument("--assume", type=Path, metavar="FILE", help="how long things take; see docs/command-line.md")
    parser.add_argument("--start", type=date.fromisoformat, metavar="DATE", help="such as 2026-12-31; default: today")
    parser.add_argument(
        "--fail", action="append", default=[], metavar="FAILURE",
        help="install:MODULE, outage:MODULE@DAY/LENGTH or silent:CONTACT/LENGTH; may be repeated",
    )  # fmt: skip


def _import_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(offline=True)
    parser.add_argument("sheet", type=Path, metavar="SHEET", help="XLSX, XLS or CSV")
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="the project's manifest: its titles and names are understood"
    )


def _watch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="IMPLEMENTATION")
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS")


def _card_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(offline=True)
    parser.add_argument("--role", help="default: all")


def _completion_options(parser: argparse.ArgumentParser, whole: argparse.ArgumentParser) -> None:
    parser.set_defaults(offline=True, whole=whole)
    parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS)


def _report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="IMPLEMENTATION", help="default: all of the namespace")
    parser.add_argument("--since", type=_duration, default="7d", metavar="DURATION", help="such as 36h; default: 7d")
    parser.add_argument(
        "--file", dest="projects", action="append", default=[], type=Path, metavar="FILE",
        help="kubectl get implementations -A -o yaml; then no cluster is asked",
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-n", "--namespace", help="default: the context's")
    common.add_argument("--context", help="of the kubeconfig; default: its current one")
    common.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text")
    common.add_argument("--language", choices=LANGUAGES, default=language(), help="default: the locale's")
    signing = _signing_options()
    parser = argparse.ArgumentParser(prog="pilotage", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(act: Callable[[Session], Awaitable[None]], *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        text = (act.__doc__ or "").split("\n")[0]
        found = commands.add_parser(act.__name__.rstrip("_"), help=text, description=text, parents=[common, *parents])
        found.set_defaults(act=act, offline=False)
        return found

    _init_options(add(init))
    _import_options(add(import_))
    sheet = add(export)
    sheet.add_argument("name", metavar="IMPLEMENTATION")
    sheet.add_argument("sheet", type=Path, metavar="FILE.xlsx", help="a new file")
    shown = add(status)
    shown.add_argument("name", nargs="?", metavar="IMPLEMENTATION", help="default: all of the namespace")
    shown.add_argument("-A", "--all-namespaces", action="store_true")
    _watch_options(add(watch))
    approving = add(approve, signing)
    approving.add_argument("--reason")
    approving.add_argument(
        "--condition", action="append", default=[], metavar="'WHAT; CONTACT; DATE'", help="a point of the punch list"
    )
    add(reject, signing).add_argument("--reason", required=True)
    waiving = add(waive, signing)
    waiving.add_argument("--reason", required=True)
    waiving.add_argument(
        "--blocker", action="append", required=True, metavar="TEXT|NUMBER", help="as status shows it; may be repeated"
    )
    waiving.add_argument("--expires", required=True, metavar="DATE")
    back = add(rollback)
    back.add_argument("name", metavar="IMPLEMENTATION")
    back.add_argument("module", metavar="MODULE")
    back.add_argument("--reason", required=True)
    _recording_options(back)
    _attest_options(add(attest))
    files = argparse.ArgumentParser(add_help=False)
    files.add_argument("files", nargs="+", type=Path, metavar="FILE", help="manifests")
    files.add_argument("--name", metavar="IMPLEMENTATION", help="where the files have several")
    add(plan, files).set_defaults(offline=True)
    _simulate_options(add(simulate, files))
    _card_options(add(cards, files))
    explained = add(explain)
    explained.set_defaults(offline=True)
    explained.add_argument("name", nargs="?", metavar="GATE|STATE|REASON", help="default: lists them")
    _report_options(add(report))
    _completion_options(add(completion), parser)
    listed = add(portfolio)
    listed.add_argument("--contexts", type=lambda text: text.split(","), default=[], metavar="A,B")
    listed.add_argument("projects", nargs="*", type=Path, metavar="FILE", help="kubectl get implementations -A -o yaml")
    return parser


def _is_offline(arguments: argparse.Namespace) -> bool:
    """Whether no cluster is asked: projects are read from files, and no context is named."""
    return arguments.offline or bool(getattr(arguments, "projects", []) and not getattr(arguments, "contexts", []))


async def _run(arguments: argparse.Namespace) -> None:
    if _is_offline(arguments):
        await arguments.act(Session(arguments, None, "", Language(arguments.language)))
        return
    contexts, current = known_contexts()
    context = arguments.context or current
    if context not in contexts:
        raise Refusal(f"--context: the kubeconfig has no context {context}; it has {', '.join(contexts)}")
    cluster = await connect(context=arguments.context)
    try:
        namespace = arguments.namespace or contexts[context]
        await arguments.act(Session(arguments, cluster, namespace, Language(arguments.language)))
    finally:
        await cluster.close()


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Entry point. Exit codes: 0 done, 1 refused, 2 misused, 130 interrupted."""
    arguments = _parser().parse_args(words)
    try:
        asyncio.run(_run(arguments))
    except Refusal as refusal:
        sys.exit(f"pilotage: {refusal}")
    except NotFound as error:
        where = f" in namespace {arguments.namespace}" if arguments.namespace else ""
        sys.exit(f"pilotage: {error.message or 'not found'}{where}")
    except ApiError as error:
        sys.exit(f"pilotage: the API server says: {error.message}")
    except (OSError, ValueError) as error:
        sys.exit(f"pilotage: no cluster could be reached: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


if __name__ == "__main__":
    main()
