"""`make demo`: a trading company gets its ERP, from an empty machine to phase Closed."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.live import Live

from e2e.cluster.errors import Refusal
from e2e.demo.install import install_operator, load_images
from e2e.demo.kubectl import Kubectl
from e2e.demo.live import Project, clock, needed, summary, to_type, transitions, view
from e2e.demo.scene import IMPLEMENTATION, NAMESPACE, apply_project, prepare
from e2e.demo.verify import report, verify

IMAGES = ("postgresql", "tryton", "nginx", "portal", "engine", "operator")
PILOTAGE = Path(sys.executable).with_name("pilotage")
DEADLINE = 20 * 60.0
STALLED_FOR = 90.0
LOOK_EVERY = 1.0
ANSWER_WITHIN = 60.0
KINDS = ("implementations", "migrationjobs", "acceptancechecks")


def run(kubeconfig: Path, picture: Path | None = None, profile: str | None = None) -> int:
    """The whole demo on a cluster that is up. 0 when every module is accepted and the ERP itself agrees.

    profile: with it the project stops at each gate until persons have signed.
    """
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{clock(time.monotonic() - started):>6}  {text}", flush=True)

    say("images: built where something changed, then loaded")
    load_images(IMAGES, say)
    say("the operator")
    install_operator(kubeconfig, say)
    say("what the customer has before Pilotage comes")
    prepare(kubeconfig, say)
    say("the project: kubectl apply of one Implementation, its MigrationJobs and AcceptanceChecks")
    apply_project(kubeconfig, profile)
    if profile:
        say(f"persons decide its gates; to sign: export KUBECONFIG={kubeconfig}, and {PILOTAGE} for pilotage")
    kubectl = Kubectl(kubeconfig, NAMESPACE)
    if ask(kubectl).closed:
        say("everything is in place from an earlier run: nothing is left to do for Pilotage")
    project = watch(kubectl, picture)
    if not project.closed:
        return fail(kubeconfig, project)
    say("the ERP itself is asked, over its own RPC")
    right = report(verify(kubeconfig))
    print("\n" + "\n".join(summary(project, time.monotonic() - started)))
    print(f"The cluster stays up: kubectl --kubeconfig {kubeconfig} -n {NAMESPACE} get impl,mj,ac")
    return 0 if right else 1


def read_project(kubectl: Kubectl) -> Project:
    """Implementation, MigrationJobs and AcceptanceChecks as they are now."""
    kinds = ",".join(f"{kind}.pilotage.dev" for kind in KINDS)
    items = json.loads(kubectl.run("get", kinds, "--output=json", "--request-timeout=10s"))["items"]
    found = {kind: [item for item in items if item["kind"] == kind] for kind in ("MigrationJob", "AcceptanceCheck")}
    named = (IMPLEMENTATION, "Implementation")
    mine = [item for item in items if (item["metadata"]["name"], item["kind"]) == named]
    return Project(mine[0] if mine else {}, found["MigrationJob"], found["AcceptanceCheck"])


def ask(kubectl: Kubectl) -> Project:
    """The project as it is now, from an API server that may be away for a moment; Refusal after a minute of that."""
    deadline = time.monotonic() + ANSWER_WITHIN
    while True:
        try:
            return read_project(kubectl)
        except Refusal:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOOK_EVERY)


def watch(kubectl: Kubectl, picture: Path | None) -> Project:
    """Show the project until it is closed, has been stalled for a while, or the deadline is over."""
    started = time.monotonic()
    looks: list[tuple[Project, float]] = []

    def keep(project: Project) -> None:
        if picture is not None:
            looks.append((project, time.monotonic() - started))

    if sys.stdout.isatty():
        with Live(console=Console(), refresh_per_second=4) as live:

            def paint(project: Project) -> None:
                keep(project)
                live.update(view(project, time.monotonic() - started))

            project = _follow(kubectl, started, paint)
    else:
        print_transitions = _print_transitions(started)

        def tell(project: Project) -> None:
            keep(project)
            print_transitions(project)

        project = _follow(kubectl, started, tell)
    if picture is not None:
        draw(*busiest(looks), picture)
    return project


def busiest(looks: list[tuple[Project, float]]) -> tuple[Project, float]:
    """The look with the most different module states: the one that shows most."""
    return max(looks, key=lambda look: len({module["state"] for module in look[0].modules}))


def _follow(kubectl: Kubectl, started: float, show: Callable[[Project], None]) -> Project:
    stalled_since: float | None = None
    while True:
        project = ask(kubectl)
        show(project)
        now = time.monotonic()
        if to_type(project):
            # A person may take as long as it takes; the deadline is for machines.
            started = now
        stalled_since = (stalled_since or now) if project.stalled else None
        given_up = stalled_since is not None and now - stalled_since > STALLED_FOR
        if project.closed or given_up or now - started > DEADLINE:
            return project
        time.sleep(LOOK_EVERY)


def _print_transitions(started: float) -> Callable[[Project], None]:
    last: list[Project] = []

    def show(project: Project) -> None:
        before = last[-1] if last else None
        news = transitions(before, project)
        news += [f"to sign: {line}" for line in to_type(project) if before is None or line not in to_type(before)]
        for line in news:
            print(f"{clock(time.monotonic() - started):>6}  {line}", flush=True)
        last[:] = [project]

    return show


def draw(project: Project, elapsed: float, path: Path) -> None:
    """Keep the view of a real run as an SVG."""
    console = Console(record=True, width=112, file=io.StringIO())
    console.print(view(project, elapsed))
    path.parent.mkdir(parents=True, exist_ok=True)
    console.save_svg(str(path), title="make demo")


def fail(kubeconfig: Path, project: Project) -> int:
    """Say what holds the project up and where to look."""
    print("\nThe project did not reach phase Closed.", file=sys.stderr)
    for line in needed(project):
        print(f"  {line}", file=sys.stderr)
    print(f"Look with: kubectl --kubeconfig {kubeconfig} -n {NAMESPACE} describe implementation {IMPLEMENTATION}",
          file=sys.stderr)  # fmt: skip
    return 1
