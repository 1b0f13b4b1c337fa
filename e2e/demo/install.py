"""Brings images into the cluster and installs the operator by its chart, as a user would with helm."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from e2e.cluster import kind
from e2e.cluster.choose import choose
from e2e.cluster.errors import Refusal
from e2e.cluster.images import ctr_command, load
from e2e.cluster.places import BINARIES, REPOSITORY
from e2e.demo.kubectl import Kubectl
from e2e.images.build import archive, build_images, inputs_digest
from e2e.images.recipes import Recipe, recipes_named

NAMESPACE = "pilotage-system"
READY_WITHIN = "180s"

Say = Callable[[str], None]


def load_images(names: Sequence[str], say: Say = print) -> None:
    """Build what changed and bring into the chosen cluster what it does not hold yet.

    A kind cluster gets all of them each time: what a node holds cannot be asked there. The user's own cluster pulls
    from the registry that its user pushed to; nothing is loaded.
    """
    recipes = recipes_named(list(names))
    build_images(recipes)
    match choose():
        case "kind":
            say("the images go into the kind cluster")
            kind.load([archive(recipe) for recipe in recipes])
        case "current":
            say("your own cluster: its nodes must have the images of build/images already, under their names")
        case _:
            _import_changed(recipes, say)


def _import_changed(recipes: Sequence[Recipe], say: Say) -> None:
    held = subprocess.run(ctr_command("images", "list"), capture_output=True, text=True, check=True).stdout
    changed = 0
    for recipe in recipes:
        stamp = f"pilotage.dev/inputs={inputs_digest(recipe)}"
        line = next((line for line in held.splitlines() if line.startswith(f"{recipe.image} ")), "")
        if stamp in line:
            continue
        changed += 1
        say(f"image {recipe.image} goes into the cluster")
        load([archive(recipe)])
        subprocess.run(ctr_command("images", "label", recipe.image, stamp), capture_output=True, check=True)
    if not changed:
        say("the cluster holds all images already")


def install_operator(kubeconfig: Path, say: Say = print) -> None:
    """`helm upgrade --install` of charts/pilotage; returns when the operator's pod is ready.

    The pod is replaced when its image's content changed under the same tag.
    """
    kubectl = Kubectl(kubeconfig, NAMESPACE)
    recipe = recipes_named(["operator"])[0]
    content = inputs_digest(recipe)[:20]
    values = {"podAnnotations": {"pilotage.dev/image-inputs": content}}
    say(f"helm upgrade --install pilotage charts/pilotage --namespace {NAMESPACE}")
    done = subprocess.run(
        [
            str(BINARIES / "helm"), "upgrade", "--install", "pilotage", str(REPOSITORY / "charts" / "pilotage"),
            "--namespace", NAMESPACE, "--create-namespace", "--kubeconfig", str(kubeconfig), "--values", "-",
        ],
        input=json.dumps(values), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        message = f"helm could not install the operator: {done.stderr.strip()}"
        raise Refusal(message)
    kubectl.run("rollout", "status", "deployment/pilotage", f"--timeout={READY_WITHIN}")
