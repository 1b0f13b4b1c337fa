"""What a cluster leaves in the kernel and on disk, and how all of it goes away: after `down`, and before `up` when a
cluster was killed from outside. Everything is found by its fixed place or name, never by memory."""

from __future__ import annotations

import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from e2e.cluster.errors import Refusal
from e2e.cluster.firewall import clear_firewall, our_chains
from e2e.cluster.places import BRIDGE, CONTAINERD_SOCKET, POD_LOGS, PROCESSES, ROOT, RUN
from e2e.cluster.processes import Daemons, Identity, end, identify

CGROUPS = Path("/sys/fs/cgroup")
POD_CGROUP = "kubepods"
CNI_CACHE = Path("/var/lib/cni/results")
CONTAINER_LOGS = Path("/var/log/containers")
SHIM_SOCKETS = Path("/run/containerd/s")
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
# Made by our parts, but for others as well: they go when nothing is in them.
PATHS_OF_OTHERS = (
    CNI_CACHE,
    CNI_CACHE.parent,
    CONTAINER_LOGS,
    SHIM_SOCKETS,
    SHIM_SOCKETS.parent,
    DEVICE_PLUGINS,
    DEVICE_PLUGINS.parent,
)


def clear_leftovers() -> None:
    """End our processes and remove our mounts, interfaces, rules, cgroups and files. Safe when there are none."""
    end(our_processes(), signal.SIGKILL)
    end(shim_processes(), signal.SIGKILL)
    end(pod_processes(), signal.SIGKILL)
    for mount in our_mounts():
        subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
    for interface in our_interfaces():
        subprocess.run(["ip", "link", "delete", interface], capture_output=True, check=False)
    if shutil.which("iptables-save"):
        clear_firewall()
    for group in our_cgroups():
        _remove_cgroup(group)
    _remove_files()


def remaining() -> list[str]:
    """What of ours is there now, one line a thing; empty after `clear_leftovers`."""
    processes = {*our_processes(), *shim_processes(), *pod_processes()}
    return [
        *(f"process {identity.pid}" for identity in processes),
        *(f"mount {mount}" for mount in our_mounts()),
        *(f"interface {interface}" for interface in our_interfaces()),
        *(f"firewall chain {chain}" for chain in our_chains()),
        *(f"cgroup {group}" for group in our_cgroups()),
        *(f"directory {path}" for path in (ROOT, RUN) if path.exists()),
    ]


def our_processes() -> list[Identity]:
    """Recorded daemons that live."""
    return [daemon.identity for daemon in Daemons(PROCESSES).all() if daemon.is_alive()]


def shim_processes() -> list[Identity]:
    """Living containerd shims that report to our containerd, whoever started them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "containerd-shim" in arguments[0] and str(CONTAINERD_SOCKET) in arguments:
            found.append(identify(int(path.parent.name)))
    return [identity for identity in found if identity is not None]


def pod_processes() -> list[Identity]:
    """Living processes of pods: the members of the pods' cgroups."""
    pids = set()
    for group in our_cgroups():
        for members in [group / "cgroup.procs", *group.rglob("cgroup.procs")]:
            try:
                pids |= {int(pid) for pid in members.read_text().split()}
            except OSError:
                continue
    return [identity for identity in map(identify, pids) if identity is not None]


def our_mounts() -> list[str]:
    """Mount points below our directories, innermost first."""
    points = [line.split()[4].replace("\\040", " ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in reversed(points) if point.startswith((f"{ROOT}/", f"{RUN}/"))]


def our_interfaces() -> list[str]:
    """The bridge and the pods' interfaces on it."""
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        return []
    ports = sorted(path.name for path in Path(f"/sys/class/net/{BRIDGE}/brif").glob("*"))
    return [*ports, BRIDGE]


def our_cgroups() -> list[Path]:
    """The pods' cgroups: one in each hierarchy of version 1, one in version 2."""
    candidates = [CGROUPS / POD_CGROUP, *(CGROUPS.glob(f"*/{POD_CGROUP}"))]
    # cpu and cpu,cpuacct may be one hierarchy under two names.
    return sorted({path for path in candidates if path.is_dir() and not path.is_symlink()})


def _remove_cgroup(group: Path) -> None:
    for inner in sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda p: -len(p.parts)):
        _remove_directory(inner)
    _remove_directory(group)


def _remove_directory(path: Path) -> None:
    try:
        path.rmdir()
    except OSError as error:
        print(f"{path} could not be removed: {error.strerror}")


def _remove_files() -> None:
    # Deleting through a mount that is still there would delete what somebody else keeps behind it.
    if our_mounts():
        raise Refusal(f"These mounts do not go away: {', '.join(our_mounts())}. Unmount them, then try again.")
    for path in (ROOT, RUN):
        shutil.rmtree(path, ignore_errors=True)
    for path in _cached_networks():
        path.unlink(missing_ok=True)
    for path in CONTAINER_LOGS.glob("*"):
        if path.is_symlink() and str(path.readlink()).startswith(str(POD_LOGS)):
            path.unlink(missing_ok=True)
    listened = Path("/proc/net/unix").read_text()
    for path in (*SHIM_SOCKETS.glob("*"), *DEVICE_PLUGINS.glob("*.sock")):
        if str(path) not in listened:
            path.unlink(missing_ok=True)
    for path in PATHS_OF_OTHERS:
        with suppress(OSError):
            path.rmdir()


def _cached_networks() -> list[Path]:
    """What the CNI library remembers of our pods: files that name a network namespace below our directory."""
    return [path for path in CNI_CACHE.glob("*") if f'"netns":"{RUN}/' in path.read_text(errors="replace")]
