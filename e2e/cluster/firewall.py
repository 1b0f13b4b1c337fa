"""Remove the rules that kube-proxy, the kubelet and the CNI plugins made, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess

OURS = re.compile(r"^(KUBE|CNI)-")
TABLES = ("nat", "filter", "mangle")
FAMILIES = ("iptables", "ip6tables")


def clearing_script(table: str, saved: str) -> str:
    """What `iptables-restore --noflush` must read to remove our chains and the rules that jump to them.

    saved: what `iptables-save -t TABLE` printed. Returns "" when nothing of ours is there.
    """
    chains = [line.split()[0][1:] for line in saved.splitlines() if line.startswith(":")]
    ours = [chain for chain in chains if OURS.match(chain)]
    if not ours:
        return ""
    jumps = [
        line.replace("-A ", "-D ", 1)
        for line in saved.splitlines()
        if line.startswith("-A ") and not OURS.match(line.split()[1]) and _jumps_to(line, ours)
    ]
    flushes = [f"-F {chain}" for chain in ours]
    deletions = [f"-X {chain}" for chain in ours]
    return "\n".join([f"*{table}", *jumps, *flushes, *deletions, "COMMIT", ""])


def clear_firewall() -> int:
    """Remove our chains from every table; returns how many tables had some."""
    cleared = 0
    for family in FAMILIES:
        if shutil.which(f"{family}-save") is None:
            continue
        for table in TABLES:
            saved = _save(family, table)
            script = clearing_script(table, saved)
            if script:
                subprocess.run([f"{family}-restore", "--noflush", "-w", "10"], input=script, text=True, check=True)
                cleared += 1
    return cleared


def our_chains() -> list[str]:
    """Names of chains of ours that exist now, as `family/table/chain`."""
    return [
        f"{family}/{table}/{line.split()[0][1:]}"
        for family in FAMILIES
        if shutil.which(f"{family}-save")
        for table in TABLES
        for line in _save(family, table).splitlines()
        if line.startswith(":") and OURS.match(line[1:])
    ]


def _jumps_to(rule: str, chains: list[str]) -> bool:
    found = re.search(r" -[jg] (\S+)", rule)
    return found is not None and found[1] in chains


def _save(family: str, table: str) -> str:
    return subprocess.run([f"{family}-save", "-t", table], capture_output=True, text=True, check=False).stdout
