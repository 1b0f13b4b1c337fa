"""PersistentVolumes: rancher's local-path-provisioner, as kind and k3s ship it, run as a process of this machine."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from e2e.cluster.images import BUSYBOX_IMAGE
from e2e.cluster.places import BINARIES, CONFIGURATION, NODE_NAME, VOLUMES

NAMESPACE = "local-path-storage"
PROVISIONER = "rancher.io/local-path"
CONFIG_FILE = CONFIGURATION / "local-path.json"
HELPER_POD_FILE = CONFIGURATION / "local-path-helper.yaml"
ACCOUNT = "local-path-provisioner"


def write_storage_configuration() -> Path:
    """Write the provisioner's files; returns the manifests that must be applied before it starts."""
    CONFIG_FILE.write_text(json.dumps({"nodePathMap": [{"node": NODE_NAME, "paths": [str(VOLUMES)]}]}))
    HELPER_POD_FILE.write_text(yaml.safe_dump(_helper_pod(), sort_keys=False))
    manifests = CONFIGURATION / "storage.yaml"
    manifests.write_text(yaml.safe_dump_all(_manifests(), sort_keys=False))
    return manifests


def provisioner_command(kubeconfig: Path) -> list[str]:
    return [
        str(BINARIES / "local-path-provisioner"),
        "start",
        f"--kubeconfig={kubeconfig}",
        f"--config={CONFIG_FILE}",
        f"--helper-pod-file={HELPER_POD_FILE}",
        f"--helper-image={BUSYBOX_IMAGE}",
        f"--provisioner-name={PROVISIONER}",
        f"--namespace={NAMESPACE}",
        f"--service-account-name={ACCOUNT}",
        "--configmap-name=local-path-config",
    ]


def _helper_pod() -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "helper-pod"},
        "spec": {
            "containers": [
                {
                    "name": "helper-pod",
                    "image": BUSYBOX_IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    # The image's own user may not make directories of root.
                    "securityContext": {"runAsUser": 0, "runAsGroup": 0},
                },
            ],
        },
    }


def _manifests() -> list[dict[str, object]]:
    scripts = {
        "setup": '#!/bin/sh\nset -eu\nmkdir -m 0777 -p "$VOL_DIR"\nchmod 0777 "$VOL_DIR"\n',
        "teardown": '#!/bin/sh\nset -eu\nrm -rf "$VOL_DIR"\n',
        "helperPod.yaml": yaml.safe_dump(_helper_pod(), sort_keys=False),
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "local-path-config", "namespace": NAMESPACE},
            "data": scripts,
        },
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": "standard",
                # A local volume, unlike a hostPath, is given to the pod's fsGroup.
                "annotations": {
                    "storageclass.kubernetes.io/is-default-class": "true",
                    "defaultVolumeType": "local",
                },
            },
            "provisioner": PROVISIONER,
            "volumeBindingMode": "WaitForFirstConsumer",
            "reclaimPolicy": "Delete",
        },
    ]
