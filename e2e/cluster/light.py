"""The light cluster: a real API server with its store and controllers, and no nodes. Up in seconds, many at a time."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from e2e.cluster.audit import write_audit_policy
from e2e.cluster.build import require_built
from e2e.cluster.certificates import Authority
from e2e.cluster.children import Child
from e2e.cluster.control_plane import make_control_plane
from e2e.cluster.errors import Refusal
from e2e.cluster.ports import ReservedPort
from e2e.cluster.probe import ApiClient, wait_until

START_TIMEOUT = 60.0
ADDRESS = "127.0.0.1"


class LightCluster:
    """One cluster in a directory of its own.

    directory: where certificates, logs, the store and `kubeconfig` go; made when missing.
    audit: whether the API server writes `audit_log`, JSON lines at level Metadata.

    authority: signs certificates that the API server takes for whoever they name.

    `start` returns when the API server is ready and the default namespace has its service account; it raises Refusal
    with the last words of the process that failed. Objects survive `kill_api_server` and `restart_api_server`.
    """

    def __init__(self, directory: Path, *, audit: bool = True) -> None:
        require_built(["etcd", "kube-apiserver", "kube-controller-manager"])
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        self.audit_log: Path | None = directory / "audit.log" if audit else None
        self._port = ReservedPort()
        # The store's socket needs a short path, whatever the caller's directory is called.
        self._sockets = Path(tempfile.mkdtemp(prefix="pilotage-"))
        self.etcd_socket = self._sockets / "etcd"
        self.authority = authority = Authority(directory / "certificates")
        plane = make_control_plane(
            directory,
            authority,
            etcd_data=directory / "etcd",
            etcd_socket=self.etcd_socket,
            address=ADDRESS,
            port=self._port.number,
            admin_kubeconfig=self.kubeconfig,
            audit_policy=write_audit_policy(directory / "audit-policy.yaml") if audit else None,
            audit_log=self.audit_log,
        )
        self.url = plane.url
        self._api = ApiClient(self.kubeconfig)
        self._etcd = Child("etcd", plane.etcd_command(), directory / "etcd.log")
        self._api_server = Child("kube-apiserver", plane.api_server_command(), directory / "kube-apiserver.log")
        self._has_controllers = True
        self._controllers = Child(
            "kube-controller-manager",
            plane.controller_manager_command(),
            directory / "kube-controller-manager.log",
        )

    def start(self) -> Self:
        """Start everything and wait until objects can be made in the default namespace."""
        try:
            self._etcd.start()
            self._api_server.start()
            self._wait_for("ready", self._api.is_ready)
            self._controllers.start()
            # Pods and Jobs are refused until the controllers have made the namespace's account.
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            self._wait_for("running its controllers", lambda: self._api.read(account) is not None)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End every process and free the port; the directory stays for whoever wants to read the logs."""
        for child in (self._controllers, self._api_server, self._etcd):
            child.stop()
        shutil.rmtree(self._sockets, ignore_errors=True)
        self._port.release()

    def stop_controllers(self) -> None:
        """End the controllers for good, for whoever reports the state of workloads instead of them."""
        self._has_controllers = False
        self._controllers.stop()

    def kill_api_server(self) -> None:
        """SIGKILL the API server; the store and the controllers live on."""
        self._api_server.kill()

    def freeze_store(self) -> None:
        """SIGSTOP the store: it answers nothing, and its connections stay open."""
        self._etcd.send(signal.SIGSTOP)

    def thaw_store(self) -> None:
        """SIGCONT the store."""
        self._etcd.send(signal.SIGCONT)

    def restart_api_server(self) -> float:
        """Stop the API server if it runs and start it on the same port; returns seconds until it was ready."""
        # Asked to stop, it waits for its watchers, who never leave.
        self._api_server.stop(patience=2.0)
        begun = time.monotonic()
        self._api_server.start()
        self._wait_for("ready", self._api.is_ready)
        return time.monotonic() - begun

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_for(self, state: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            for child in (self._etcd, self._api_server):
                if not child.is_alive():
                    raise Refusal(f"{child.name} of the light cluster ended; its log says:\n{child.last_words()}")
            # The controllers give up when the API server is away for long.
            if self._has_controllers and self._controllers.has_ended():
                self._controllers.start()
            if wait_until(condition, 0.5, 0.05):
                return
            if time.monotonic() > deadline:
                raise Refusal(f"The light cluster was not {state} after {START_TIMEOUT:.0f} s; logs: {self.directory}")
