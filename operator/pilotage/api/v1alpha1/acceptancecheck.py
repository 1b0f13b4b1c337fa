"""AcceptanceCheck: measured evidence into a verdict about modules, which holds or opens a gate."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from pilotage.api.v1alpha1.attestation import DefectSeverity
from pilotage.api.v1alpha1.common import (
    ApiModel,
    Conditions,
    Decimal,
    DnsLabel,
    Duration,
    LocalReference,
    ObjectName,
    Text,
    Timestamp,
    Title,
    list_map,
    list_set,
    validations,
)
from pilotage.api.v1alpha1.implementation import MAX_MODULES

MAX_METRICS = 8
MAX_VALUE = 64
MAX_QUERY = 2048
MAX_DAYS = 120
ENDPOINT = "an address that an administrator declared for this namespace in the operator's chart"


class Gate(StrEnum):
    """What a module may not become before the check has passed: Live, Stable or Accepted, in this order."""

    CONFIGURATION_READY = "ConfigurationReady"
    STABLE_RUN_COMPLETE = "StableRunComplete"
    FINAL_ACCEPTED = "FinalAccepted"


class KubernetesMeasure(StrEnum):
    """What is read of the workloads of a module's release."""

    AVAILABILITY = "Availability"
    RESTARTS = "Restarts"


class KubernetesSource(ApiModel):
    """The workloads of the module's release: Availability in percent, or container Restarts since the run began."""

    measure: KubernetesMeasure


class HttpMeasure(StrEnum):
    """What is read of an answer."""

    SUCCESS = "Success"
    LATENCY = "Latency"


class HttpExpectation(ApiModel):
    """What an answer must look like to count."""

    status: Annotated[int, Field(ge=100, le=599)] = 200
    body: (
        Annotated[str, Field(min_length=1, max_length=512, description="text that the answer's first MiB must contain")]
        | None
    ) = None


class HttpSource(ApiModel):
    """A GET request to a Service of the namespace or to a declared endpoint: Success is 1 or 0, Latency in seconds."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            (
                "has(self.service) == has(self.port) && has(self.service) != has(self.endpoint)",
                "give service and port, or endpoint",
            )
        )
    }

    service: DnsLabel | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    endpoint: DnsLabel | None = Field(default=None, description=ENDPOINT)
    path: Annotated[str, Field(max_length=1024, pattern=r"^/[^\s#]*$")] = "/"
    expect: HttpExpectation = HttpExpectation()
    measure: HttpMeasure = HttpMeasure.SUCCESS


class PrometheusSource(ApiModel):
    """One value from a declared Prometheus. A query that gives no series or NaN has no data; more series are an error.

    With `window` the query is read at up to 60 points of the time just past, and the worst of them is the value.
    """

    endpoint: DnsLabel = Field(description=ENDPOINT)
    query: Annotated[str, Field(min_length=1, max_length=MAX_QUERY)]
    window: Duration | None = None


class SqlSource(ApiModel):
    """One value from a database: the first column of the query's only row. The transaction is read-only."""

    connection: DnsLabel = Field(description="a connection of the Implementation")
    query: Annotated[str, Field(min_length=1, max_length=MAX_QUERY)]


class MigrationMeasure(StrEnum):
    """What is read of a migration's Final run: 1 or 0, rows, or checks."""

    BALANCED = "Balanced"
    QUARANTINED = "Quarantined"
    FAILED_CHECKS = "FailedChecks"


class MigrationResultSource(ApiModel):
    """What the Final run of a MigrationJob of the same Implementation came to."""

    name: ObjectName
    measure: MigrationMeasure


class AttestationMeasure(StrEnum):
    """What is counted of the attestations that the Implementation heeds."""

    OPEN_DEFECTS = "OpenDefects"
    TESTS_NOT_PASSED = "TestsNotPassed"
    UNTRAINED = "Untrained"


class AttestationSource(ApiModel):
    """A number that people and other systems attest."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            ("!has(self.severity) || self.measure == 'OpenDefects'", "severity goes with OpenDefects")
        )
    }

    measure: AttestationMeasure
    severity: DefectSeverity | None = Field(default=None, description="this one and worse; default: all")


SOURCES = ("kubernetes", "http", "sql", "prometheus", "migration", "attestation")


class Source(ApiModel):
    """Where a value comes from: exactly one of these."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            (
                f"[{', '.join(f'has(self.{name})' for name in SOURCES)}].filter(x, x).size() == 1",
                f"give exactly one source: {', '.join(SOURCES[:-1])} or {SOURCES[-1]}",
            )
        )
    }

    kubernetes: KubernetesSource | None = None
    http: HttpSource | None = None
    sql: SqlSource | None = None
    prometheus: PrometheusSource | None = None
    migration: MigrationResultSource | None = None
    attestation: AttestationSource | None = None


class Target(ApiModel):
    """What a good value is: exactly one of `atLeast`, `atMost` and `equals`. `equals` compares numbers as numbers."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            (
                "[has(self.atLeast), has(self.atMost), has(self.equals)].filter(x, x).size() == 1",
                "give exactly one target: atLeast, atMost or equals",
            )
        )
    }

    at_least: Decimal | None = None
    at_most: Decimal | None = None
    equals: Annotated[str, Field(max_length=MAX_VALUE)] | None = None


class Severity(StrEnum):
    """How much a metric matters. It says what a miss leads to where `onBreach` does not."""

    CRITICAL = "Critical"
    MAJOR = "Major"
    MINOR = "Minor"


class OnBreach(StrEnum):
    """What a sample that misses its target leads to."""

    RESTART = "Restart"
    EXTEND = "Extend"
    PAUSE = "Pause"
    RECORD = "Record"
    FAIL = "Fail"


DEFAULT_ON_BREACH = {
    Severity.CRITICAL: OnBreach.RESTART,
    Severity.MAJOR: OnBreach.EXTEND,
    Severity.MINOR: OnBreach.RECORD,
}


class OnNoData(StrEnum):
    """What a sample of a source that has nothing to tell leads to."""

    PAUSE = "Pause"
    INCONCLUSIVE = "Inconclusive"
    FAIL = "Fail"


class Metric(ApiModel):
    """One thing that is measured, again and again, and what it must be."""

    name: DnsLabel
    title: Title | None = None
    source: Source
    target: Target
    interval: Annotated[
        Duration, Field(description="time from one sample to the next; a fraction of a second counts as one second")
    ] = "10s"
    min_samples: Annotated[int, Field(ge=1, le=10000, description="good samples in a row before it counts as met")] = 1
    severity: Severity = Severity.CRITICAL
    on_breach: OnBreach | None = Field(
        default=None,
        description="Restart: samples and clock begin anew. Extend: the miss does not count and its time is added to "
        "what is required. Pause: it does not count. Record: it counts, and the verdict is ConditionallyPassed. Fail: "
        "the verdict is Failed for this input. Default: Restart for Critical, Extend for Major, Record for Minor",
    )
    on_no_data: OnNoData = Field(
        default=OnNoData.PAUSE,
        description="Pause: the clock waits. Inconclusive, Fail: the verdict ends so for this input",
    )

    @property
    def consequence(self) -> OnBreach:
        """What a first miss leads to."""
        return self.on_breach or DEFAULT_ON_BREACH[self.severity]


EventName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class RestartAt(StrEnum):
    """When a stable run that begins anew begins."""

    NOW = "Now"
    MIDNIGHT = "Midnight"


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        msg = f"{name!r} is not a time zone: write a name of the IANA list, such as Asia/Shanghai"
        raise ValueError(msg) from error
    return name


class StableRun(ApiModel):
    """How long every metric has to stay good, in time that was really measured."""

    required: Duration
    timezone: Annotated[
        str,
        Field(
            max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9+_/-]*$", description="IANA name; days begin at its midnight"
        ),
        AfterValidator(_known_zone),
    ] = "UTC"
    restart_at: RestartAt = Field(
        default=RestartAt.NOW, description="Midnight: after a breach the run begins anew with the next local day"
    )
    min_soak: Duration | None = Field(
        default=None,
        description="a new release in mid-run keeps the clock, and at least this much is still to come after it. "
        "Default: a new release begins anew",
    )
    required_events: Annotated[
        list[EventName],
        Field(
            max_length=20,
            json_schema_extra=list_set(),
            description="business events that must be attested as passed, such as month-end-close",
        ),
    ] = []


class AcceptanceCheckSpec(ApiModel):
    """Which modules are measured, how, and which gate that holds. A changed spec begins anew."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            (
                "(self.gate == 'StableRunComplete') == has(self.stableRun)",
                "stableRun goes with the gate StableRunComplete, and that gate needs it",
            )
        )
    }

    implementation_ref: LocalReference
    modules: Annotated[
        list[DnsLabel], Field(max_length=MAX_MODULES, json_schema_extra=list_set(), description="default: all modules")
    ] = []
    gate: Gate
    metrics: Annotated[list[Metric], Field(min_length=1, max_length=MAX_METRICS, json_schema_extra=list_map("name"))]
    stable_run: StableRun | None = None
    deadline: Duration | None = Field(
        default=None, description="a module that has not passed this long after its first measurement is Failed"
    )


class CheckPhase(StrEnum):
    """Where a check stands, as a whole or for one module. Only Passed and ConditionallyPassed open a gate.

    ConditionallyPassed: all that holds the gate is met, and something was missed that is only recorded. Failed: a
    target is missed. Inconclusive: there was nothing to measure. Error: the source could not be asked.
    """

    PENDING = "Pending"
    OBSERVING = "Observing"
    PASSED = "Passed"
    CONDITIONALLY_PASSED = "ConditionallyPassed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"
    ERROR = "Error"


PASSING = frozenset({CheckPhase.PASSED, CheckPhase.CONDITIONALLY_PASSED})


class MetricState(StrEnum):
    """What the newest sample of a metric says."""

    PENDING = "Pending"
    GOOD = "Good"
    BREACHED = "Breached"
    NO_DATA = "NoData"
    ERROR = "Error"


Moment = Annotated[Timestamp, Field(description="with microseconds: the clock is computed from it")]


class MetricStatus(ApiModel):
    """What is known of one metric for one module."""

    name: DnsLabel
    state: MetricState = MetricState.PENDING
    value: Annotated[str, Field(max_length=MAX_VALUE)] | None = None
    samples: Annotated[int, Field(ge=0, description="good samples in a row")] = 0
    taken: Annotated[int, Field(ge=0, description="all samples ever taken of this input")] = 0
    breaches: Annotated[int, Field(ge=0)] = 0
    episodes: Annotated[
        int, Field(ge=0, description="times in this run that it was missed after it had been met; each is one harder")
    ] = 0
    recorded: Annotated[int, Field(ge=0, description="misses of this run that were only recorded")] = 0
    last_sample_at: Moment | None = None
    last_good_at: Moment | None = None
    counter: Annotated[int, Field(ge=0, description="raw reading, from which the next increase is taken")] | None = None
    unsettled: Duration | None = Field(
        default=None, description="good time of this metric that the other metrics have not covered yet"
    )
    message: Text | None = None


class DayStatus(ApiModel):
    """One local day of a stable run."""

    date: Annotated[str, Field(max_length=10, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    good: Annotated[Duration, Field(description="time that was credited on this day")] = "0s"
    measured: Annotated[Duration, Field(description="time in which every metric had a value")] = "0s"
    breaches: Annotated[int, Field(ge=0)] = 0
    no_data: Annotated[bool, Field(description="less than 95 % of the day was measured")] = False


class ClockStatus(ApiModel):
    """The stable-run clock of one module. It counts evaluated good samples, never wall time."""

    accumulated: Duration = "0s"
    required: Duration
    extended: Annotated[Duration, Field(description="what breaches and releases add to required")] | None = None
    started_at: Moment | None = None
    last_sample_at: Moment | None = None
    resets: Annotated[int, Field(ge=0)] = 0
    no_data_days: Annotated[int, Field(ge=0, description="days of this run that were not measured enough")] = 0
    not_before: Moment | None = Field(default=None, description="nothing is credited before this moment")
    paused_reason: Annotated[str, Field(max_length=256)] | None = None
    projected_end: Timestamp | None = None


class ModuleCheckStatus(ApiModel):
    """The verdict about one module. It speaks of `subject` only: another input of the module is measured anew."""

    name: DnsLabel
    subject: Annotated[str, Field(max_length=80, description="input digest of the measured release")] = ""
    phase: CheckPhase = CheckPhase.PENDING
    concluded: bool = Field(
        default=False, description="nothing more is measured until the module's input, the spec or retry-at changes"
    )
    since: Moment | None = Field(default=None, description="first look at this subject; the deadline counts from here")
    message: Text = ""
    clock: ClockStatus | None = None
    metrics: Annotated[list[MetricStatus], Field(max_length=MAX_METRICS, json_schema_extra=list_map("name"))] = []
    days: Annotated[
        list[DayStatus],
        Field(
            max_length=MAX_DAYS, json_schema_extra=list_map("date"), description="the newest; fewer with many modules"
        ),
    ] = []


class ProbeStatus(ApiModel):
    """How many probe Jobs have answered for a connection: the number names the next one."""

    connection: DnsLabel
    number: Annotated[int, Field(ge=0)] = 0


class AcceptanceCheckStatus(ApiModel):
    """The verdict and the evidence behind it."""

    observed_generation: int = -1
    phase: CheckPhase | None = None
    verdict: Annotated[str, Field(max_length=2048)] = ""
    clock: Annotated[str, Field(max_length=60, description="the slowest module's clock: 12m/30m")] | None = None
    modules: Annotated[list[ModuleCheckStatus], Field(max_length=MAX_MODULES, json_schema_extra=list_map("name"))] = []
    probes: Annotated[list[ProbeStatus], Field(max_length=MAX_METRICS, json_schema_extra=list_map("connection"))] = []
    implementation_uid: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="the Implementation that was measured; a new one of the same name begins anew"
    )
    session: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="the run of the operator that took the newest samples; a new one credits anew"
    )
    last_handled_retry_at: Annotated[str, Field(max_length=100)] | None = None
    conditions: Conditions = []


PRINTER_COLUMNS: list[tuple[str, str, str]] = [
    ("Gate", "string", ".spec.gate"),
    ("Phase", "string", ".status.phase"),
    ("Clock", "string", ".status.clock"),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
    ("Age", "date", ".metadata.creationTimestamp"),
]
