"""Debian packages that the cluster needs: installed when we may, named when not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster.errors import Refusal

# Program -> Debian package.
NODE_PROGRAMS = {
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "mount": "mount",
    "modprobe": "kmod",
    "busybox": "busybox-static",
    "gcc": "gcc",
}
# Found by file, for there is no program of that name.
NODE_FILES = {"/usr/lib/x86_64-linux-gnu/libc.a": "libc6-dev", "/usr/lib/aarch64-linux-gnu/libc.a": "libc6-dev"}
IMAGE_PROGRAMS = {"mmdebstrap": "mmdebstrap", "buildah": "buildah"}

POLICY = Path("/usr/sbin/policy-rc.d")


def missing_packages(programs: Mapping[str, str]) -> list[str]:
    """The packages of those programs that are not on PATH, sorted."""
    missing = {package for program, package in programs.items() if shutil.which(program, path=_path()) is None}
    if "gcc" in programs and not any(Path(file).is_file() for file in NODE_FILES):
        missing |= set(NODE_FILES.values())
    return sorted(missing)


def install_packages(programs: Mapping[str, str]) -> list[str]:
    """Install what is missing with apt-get; returns the packages installed.

    Raises Refusal with what to install when we are not root, this is no Debian, or apt-get fails.
    """
    packages = missing_packages(programs)
    if not packages:
        return []
    names = " ".join(packages)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Refusal(f"Missing programs. Install these Debian packages (or their like) first: {names}")
    print(f"Installing Debian packages: {names}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    with services_kept_from_starting():
        # A stale list still installs much; only the installation's own result counts.
        subprocess.run([*apt, "update"], env=environment, capture_output=True, check=False)
        command = [*apt, "install", "--yes", "--no-install-recommends", *packages]
        finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        last_words = "\n".join((finished.stdout + finished.stderr).strip().splitlines()[-6:])
        raise Refusal(f"apt-get could not install {names}:\n{last_words}")
    return packages


@contextmanager
def services_kept_from_starting(policy: Path = POLICY) -> Iterator[None]:
    """Debian starts what it installs; with this policy in place it does not. Somebody else's policy is left alone."""
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
