"""Reasons of conditions and module states: one word for machines, stable across versions."""

from __future__ import annotations

from typing import Final


class Reason:
    """Reasons that the planning of an Implementation gives."""

    OBSERVING: Final = "Observing"
    ACTING: Final = "Acting"
    PROGRESSING: Final = "Progressing"
    RELEASE_LOCKED: Final = "ReleaseLocked"
    RELEASE_FAILED: Final = "ReleaseFailed"
    ROLLED_BACK: Final = "RolledBack"
    HEALTH_TIMEOUT: Final = "HealthTimeout"
    UNHEALTHY: Final = "Unhealthy"
    MIGRATION_JOB_MISSING: Final = "MigrationJobMissing"
    MIGRATION_JOB_MISMATCH: Final = "MigrationJobMismatch"
    MIGRATION_NOT_SUCCEEDED: Final = "MigrationNotSucceeded"
    MIGRATING: Final = "Migrating"
    CHECK_MISSING: Final = "AcceptanceCheckMissing"
    CHECK_MISMATCH: Final = "AcceptanceCheckMismatch"
    CHECK_NOT_PASSED: Final = "CheckNotPassed"
    DEPENDENCY_NOT_LIVE: Final = "DependencyNotLive"
    WAVE_NOT_OPEN: Final = "WaveNotOpen"
    WAVE_STOPPED: Final = "WaveStopped"
    MUTEX_HELD: Final = "MutexHeld"
    MAX_PARALLEL: Final = "MaxParallelReached"
    SCOPE_INCOMPLETE: Final = "ScopeIncomplete"
    SCOPE_BASELINED: Final = "ScopeBaselined"
    AWAITING_APPROVAL: Final = "AwaitingApproval"
    GATE_REJECTED: Final = "GateRejected"
    PREFLIGHT_PENDING: Final = "PreflightPending"
    PREFLIGHT_FAILED: Final = "PreflightFailed"
    DEPENDENCY_CYCLE: Final = "DependencyCycle"
    SUSPENDED: Final = "Suspended"
    UNINSTALLING: Final = "Uninstalling"
    ROLLING_OUT: Final = "RollingOut"
    ALL_LIVE: Final = "AllModulesLive"
    MODULE_FAILED: Final = "ModuleFailed"
