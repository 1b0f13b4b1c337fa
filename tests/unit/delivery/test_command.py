"""What the end of a helm process means: the input's fault, or the cluster's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pilotage.delivery.command import HelmAction, error_of
from pilotage.delivery.process import Ended

ACTION = HelmAction("Install", "huasheng", "erp-core", "system:serviceaccount:huasheng:pilotage-deployer")


@pytest.mark.parametrize(
    ("code", "said", "reason", "again"),
    [
        (1, 'Error: Patch "https://10.96.0.1:443/apis": unexpected EOF', "ClusterUnreachable", True),
        (1, "Error: Kubernetes cluster unreachable: dial tcp: i/o timeout", "ClusterUnreachable", True),
        (1, "Error: Internal error occurred: failed calling webhook", "ClusterUnreachable", True),
        (1, "Error: Timeout: request did not complete within the allotted timeout", "ClusterUnreachable", True),
        (1, "Error: Operation cannot be fulfilled: the object has been modified", "ClusterUnreachable", True),
        (-9, "", "HelmKilled", True),
        (1, 'Error: deployments.apps is forbidden: User "x" cannot create', "Forbidden", False),
        (1, "Error: values don't meet the specifications of the schema(s)", "ValuesInvalid", False),
        (1, "Error: admission webhook said no", "HelmFailed", False),
        (2, "fatal error: runtime: out of memory", "ChartLimit", False),
        (2, "fatal error: runtime: cannot allocate memory", "ChartLimit", False),
        (2, "runtime: goroutine stack exceeds\nfatal error: stack overflow", "ChartLimit", False),
        (2, "fatal error: all goroutines are asleep - deadlock!", "HelmFailed", False),
    ],
)
def test_only_the_clusters_fault_is_tried_again(code: int, said: str, reason: str, again: bool) -> None:
    error = error_of(ACTION, Ended(code, b"", said))
    assert error is not None
    assert (error.reason, error.until > 0) == (reason, again)


@pytest.mark.parametrize("said", ["Error: failed to delete release: erp-core", "Error: secrets is forbidden"])
def test_a_removal_is_tried_again_whatever_it_failed_of(said: str) -> None:
    error = error_of(replace(ACTION, kind="Uninstall"), Ended(1, b"", said))
    assert error is not None
    assert error.until > 0
