"""Implementation: one customer's project, rolled out module by module in waves."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from pilotage.api.v1alpha1.common import (
    ApiModel,
    Conditions,
    DnsLabel,
    Duration,
    LocalReference,
    ObjectName,
    Quantity,
    Sha256,
    Text,
    Timestamp,
    Title,
    free_form,
    list_map,
    list_set,
    validations,
)
from pilotage.api.v1alpha1.cutover import CutoverSpec, CutoverStatus
from pilotage.api.v1alpha1.project import (
    MAX_GATES,
    CaseName,
    Contact,
    DefectsStatus,
    GateSpec,
    GateStatus,
    Goal,
    Profile,
    Requirement,
    RequirementId,
    ScopeStatus,
    Training,
    TrainingStatus,
    UnheededAttestation,
    UserTestsStatus,
)
from pilotage.api.v1alpha1.schedule import Schedule, ScheduleStatus, TimeZoneName

MAX_MODULES = 100
MAX_DEPENDENCIES = 16
MAX_RELEASE_NAME = 53
# All steps are reported, and a status stays below 128 KiB.
MAX_CUTOVER_STEPS = 200

ANY = Annotated[Any, Field(json_schema_extra=free_form())]
Values = Annotated[dict[str, Any], Field(json_schema_extra={"type": "object", **free_form()})]
Expression = Annotated[str, Field(max_length=4096)]
ReleaseName = Annotated[
    str, Field(min_length=1, max_length=MAX_RELEASE_NAME, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]


class DeletionPolicy(StrEnum):
    """What happens to the releases when the Implementation, or a module in it, is deleted."""

    ORPHAN = "Orphan"
    UNINSTALL = "Uninstall"


class OnFailure(StrEnum):
    """What a failed upgrade of a module leads to. Either way its wave stops."""

    STOP = "Stop"
    ROLLBACK = "Rollback"


class Customer(ApiModel):
    """Who the project is for. `code` is the value of the label pilotage.dev/customer."""

    code: DnsLabel
    name: Title
    contract: Annotated[str, Field(max_length=100)] | None = None
    timezone: TimeZoneName = "UTC"


class ConnectionType(StrEnum):
    """What kind of service a connection reaches."""

    POSTGRESQL = "postgresql"
    MYSQL = "mysql"
    HTTP = "http"
    S3 = "s3"

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The keys that a Secret of this type must have."""
        match self:
            case ConnectionType.HTTP:
                return ("url",)
            case ConnectionType.S3:
                return ("url", "accessKey", "secretKey")
            case _:
                return ("host", "port", "database", "username", "password")

    @property
    def serves_files(self) -> bool:
        """Whether it reaches files, and no database."""
        return self in {ConnectionType.HTTP, ConnectionType.S3}


class DatabaseExpectations(ApiModel):
    """The least that a database must offer; measured by the preflight's probe Job."""

    version: (
        Annotated[
            str,
            Field(
                max_length=20, pattern=r"^>=\s*[0-9]{1,3}(\.[0-9]{1,3})?$", description="lowest version, such as >=15"
            ),
        ]
        | None
    ) = None
    charset: (
        Annotated[
            str, Field(max_length=40, pattern=r"^[A-Za-z0-9_]+$", description="the server's name of it, such as UTF8")
        ]
        | None
    ) = None
    max_connections: Annotated[int, Field(ge=1, le=262143)] | None = None


class Connection(ApiModel):
    """A database or file server that the project uses, named once.

    The Secret of a database holds host, port, database, username and password. That of an http server holds url, and
    where they are needed username and password or token, and ca (PEM); that of an s3 store url (with the bucket),
    accessKey and secretKey, and where they are needed region and ca.
    """

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            ("!has(self.expects) || self.type == 'postgresql'", "expects is measured of type postgresql only"),
        )
    }

    name: DnsLabel
    type: ConnectionType
    secret_ref: LocalReference
    expects: DatabaseExpectations | None = None


class EnvironmentExpectations(ApiModel):
    """The least that the customer's cluster must offer; measured by the preflight before anything is touched."""

    kubernetes: (
        Annotated[
            str,
            Field(
                max_length=40,
                pattern=r"^>=\s*1\.[0-9]{1,3}(\.[0-9]{1,3})?$",
                description="lowest Kubernetes version, such as >=1.33",
            ),
        ]
        | None
    ) = None
    cpu: Annotated[Quantity, Field(description="allocatable processors of all nodes together")] | None = None
    memory: Annotated[Quantity, Field(description="allocatable memory of all nodes together")] | None = None
    storage_class: ObjectName | None = None
    ingress_class: ObjectName | None = None
    arch: Annotated[str, Field(max_length=20, pattern=r"^[a-z0-9]+$", description="of every node: amd64")] | None = None


class Environment(ApiModel):
    """The customer's cluster as the project needs it."""

    expects: EnvironmentExpectations = EnvironmentExpectations()


class ChartSource(ApiModel):
    """Where a module's Helm chart comes from: exactly one of `oci`, `repository` with `name`, or `configMapRef`."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            (
                "[has(self.oci), has(self.repository), has(self.configMapRef)].filter(x, x).size() == 1",
                "give exactly one chart source: oci, repository (with name) or configMapRef",
            ),
            ("has(self.repository) == has(self.name)", "repository and name go together"),
            (
                "has(self.configMapRef) || has(self.version) || (has(self.oci) && self.oci.contains('@sha256:'))",
                "pin the chart: give a version, or oci with @sha256:",
            ),
            ("!has(self.secretRef) || has(self.oci)", "secretRef holds registry credentials and goes with oci only"),
        )
    }

    oci: Annotated[str, Field(max_length=500, pattern=r"^oci://[^\s]+$")] | None = None
    repository: Annotated[str, Field(max_length=500, pattern=r"^https?://[^\s]+$")] | None = None
    name: Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9._-]+$")] | None = None
    config_map_ref: LocalReference | None = Field(
        default=None, description="a ConfigMap with the packaged chart under binaryData, key chart.tgz"
    )
    version: Annotated[str, Field(max_length=100, pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]*$")] | None = None
    digest: (
        Annotated[
            Sha256,
            Field(
                description="sha256 of the chart archive (of a registry: of the chart's layer); another one is refused"
            ),
        ]
        | None
    ) = None
    secret_ref: LocalReference | None = Field(
        default=None, description="a Secret of type kubernetes.io/dockerconfigjson for the registry"
    )


class ValuesSourceKind(StrEnum):
    """Kinds that values may be taken from."""

    CONFIG_MAP = "ConfigMap"
    SECRET = "Secret"  # noqa: S105 (a kind's name, no secret)


class ValuesReference(ApiModel):
    """Values from a ConfigMap or Secret of the same namespace, with Flux's meaning.

    Without `targetPath` the key holds a YAML document that is merged; with it, the key's text becomes
    the value at that dotted path.
    """

    kind: ValuesSourceKind
    name: ObjectName
    values_key: Annotated[str, Field(max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = "values.yaml"
    target_path: Annotated[str, Field(max_length=250, pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")] | None = None
    optional: bool = False


class ConfigType(StrEnum):
    """Types of a configuration item's value."""

    STRING = "String"
    INTEGER = "Integer"
    NUMBER = "Number"
    BOOLEAN = "Boolean"
    LIST = "List"
    OBJECT = "Object"


class ConfigItem(ApiModel):
    """One business setting of a module. `key` is a dotted path in the chart's values; it wins over `values`."""

    key: Annotated[str, Field(max_length=250, pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")]
    title: Title | None = None
    type: ConfigType | None = None
    enum: Annotated[list[ANY], Field(max_length=64, json_schema_extra={"x-kubernetes-list-type": "atomic"})] | None = (
        None
    )
    value: ANY = None
    required: bool = False
    rationale: Annotated[str, Field(max_length=500)] | None = Field(
        default=None, description="why it is so, for those who are trained; default: the requirement's"
    )
    requirement: RequirementId | None = Field(default=None, description="id of spec.requirements that it goes back to")


class Output(ApiModel):
    """A value that other modules read as modules.NAME.outputs.KEY; may hold [[ expressions ]]."""

    name: Annotated[str, Field(max_length=63, pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
    value: Expression


class ModuleSpec(ApiModel):
    """One module of the product: a Helm release and what must be true before it counts as live."""

    name: DnsLabel
    title: Title | None = None
    wave: Annotated[int, Field(ge=1, le=100, description="default: one more than the highest of dependsOn")] | None = (
        None
    )
    depends_on: Annotated[list[DnsLabel], Field(max_length=MAX_DEPENDENCIES, json_schema_extra=list_set())] = []
    mutex: Annotated[DnsLabel, Field(description="modules of the same mutex never act at once")] | None = None
    chart: ChartSource
    release_name: ReleaseName | None = Field(default=None, description="default: IMPLEMENTATION-MODULE")
    values: Values = {}
    values_from: Annotated[
        list[ValuesReference], Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = []
    config: Annotated[list[ConfigItem], Field(max_length=200, json_schema_extra=list_map("key"))] = []
    outputs: Annotated[list[Output], Field(max_length=32, json_schema_extra=list_map("name"))] = []
    migrations: Annotated[list[ObjectName], Field(max_length=32, json_schema_extra=list_set())] = Field(
        default=[], description="MigrationJobs that this module waits for, also while they are missing"
    )
    checks: Annotated[list[ObjectName], Field(max_length=32, json_schema_extra=list_set())] = Field(
        default=[], description="AcceptanceChecks that this module waits for, also while they are missing"
    )
    irreversible_after: ObjectName | None = Field(
        default=None, description="a MigrationJob: once its Final run has succeeded, only a person orders a rollback"
    )
    cutover: CutoverSpec | None = Field(
        default=None, description="what is done, in order, when it goes live; without it nothing is between"
    )
    timeout: Annotated[Duration, Field(description="how long its workloads may take to become healthy")] = "10m"


class Rollout(ApiModel):
    """How the modules of a wave are staggered and what a failure leads to."""

    max_parallel: Annotated[int, Field(ge=1, le=20, description="modules that act at once")] = 2
    on_failure: OnFailure = OnFailure.STOP
    max_modules_in_hypercare: (
        Annotated[
            int,
            Field(ge=1, le=MAX_MODULES, description="the next wave waits while as many before it are not Stable"),
        ]
        | None
    ) = None


class ImplementationSpec(ApiModel):
    """What the customer is to get, and in which order."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            (
                "self.modules.all(m, !has(m.dependsOn) || m.dependsOn.all(d, self.modules.exists(n, n.name == d)))",
                "dependsOn names a module that is not in spec.modules",
            ),
            (
                f"self.modules.map(m, has(m.cutover) ? m.cutover.steps.size() : 0).sum() <= {MAX_CUTOVER_STEPS}",
                f"the cutovers of all modules have at most {MAX_CUTOVER_STEPS} steps together",
            ),
        )
    }

    customer: Customer
    profile: Profile | None = Field(
        default=None, description="which gates persons decide; without it every gate opens by its conditions alone"
    )
    gates: Annotated[list[GateSpec], Field(max_length=7, json_schema_extra=list_map("name"))] = Field(
        default=[], description="what is spelled out here overrides the profile"
    )
    priority: Annotated[int, Field(ge=0, le=100, description="whose cutover comes first, across customers")] = 50
    service_account_name: ObjectName = Field(
        default="pilotage-deployer", description="every change in the namespace is made as this account"
    )
    deletion_policy: DeletionPolicy = DeletionPolicy.ORPHAN
    contacts: Annotated[list[Contact], Field(max_length=64, json_schema_extra=list_map("id"))] = Field(
        default=[], description="the people of the project; everything else refers to the id"
    )
    goals: Annotated[list[Goal], Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"})] = []
    requirements: Annotated[list[Requirement], Field(max_length=300, json_schema_extra=list_map("id"))] = Field(
        default=[], description="what the customer needs; while one is incomplete no module starts for the first time"
    )
    schedule: Schedule = Schedule()
    training: Training = Field(default=Training(), description="who has to be trained before the modules go live")
    connections: Annotated[list[Connection], Field(max_length=32, json_schema_extra=list_map("name"))] = []
    environment: Environment = Environment()
    values: Values = Field(default={}, description="shared by all modules; string leaves may hold [[ expressions ]]")
    modules: Annotated[
        list[ModuleSpec], Field(min_length=1, max_length=MAX_MODULES, json_schema_extra=list_map("name"))
    ]
    rollout: Rollout = Rollout()
    suspend: bool = Field(default=False, description="no new action is started; running ones end")


class Phase(StrEnum):
    """Where the project as a whole stands; derived from its modules, never a cursor."""

    REQUIREMENTS = "Requirements"
    PLANNING = "Planning"
    CONFIGURING = "Configuring"
    MIGRATING = "Migrating"
    TRAINING = "Training"
    CUTOVER = "Cutover"
    HYPERCARE = "Hypercare"
    ACCEPTANCE = "Acceptance"
    CLOSED = "Closed"
    SUSPENDED = "Suspended"


class ModuleState(StrEnum):
    """Where a module stands. The first nine are passed in this order."""

    PENDING = "Pending"
    CONFIGURING = "Configuring"
    MIGRATING = "Migrating"
    VERIFYING = "Verifying"
    PREPARED = "Prepared"
    CUTTING_OVER = "CuttingOver"
    LIVE = "Live"
    STABLE = "Stable"
    ACCEPTED = "Accepted"
    ROLLED_BACK = "RolledBack"
    UNHEALTHY = "Unhealthy"
    FAILED = "Failed"


class ReleaseStatus(ApiModel):
    """The Helm release that a module has now."""

    name: Annotated[str, Field(max_length=MAX_RELEASE_NAME)]
    chart: Annotated[str, Field(max_length=250)]
    version: Annotated[str, Field(max_length=100)]
    revision: Annotated[int, Field(ge=1)]
    values_digest: Annotated[str, Field(max_length=80)]
    input_digest: Annotated[str, Field(max_length=80, description="names chart and values together; checks bind to it")]


class LastGood(ApiModel):
    """The newest revision that was once live and healthy: what a rollback goes back to."""

    revision: Annotated[int, Field(ge=1)]
    version: Annotated[str, Field(max_length=100)]
    input_digest: Annotated[str, Field(max_length=80)]


class ModuleStatus(ApiModel):
    """What is known of one module."""

    name: DnsLabel
    wave: Annotated[int, Field(ge=1)]
    state: ModuleState
    reached: ModuleState = Field(
        default=ModuleState.PENDING, description="the furthest of the ordered states with the present input"
    )
    reason: Annotated[str, Field(max_length=128)] = ""
    message: Annotated[str, Field(max_length=2048)] = ""
    since: Timestamp
    desired_input: Annotated[str, Field(max_length=80)] = ""
    values_digest: Annotated[str, Field(max_length=80, description="of the rendered values, secrets by keyed hash")] = (
        ""
    )
    expects: Annotated[
        list[Annotated[str, Field(max_length=280)]], Field(max_length=128, json_schema_extra=list_set())
    ] = Field(
        default=[],
        description="check/NAME and migration/NAME that hold this module; one that is deleted still holds it",
    )
    release: ReleaseStatus | None = None
    last_good: LastGood | None = None
    cutover: CutoverStatus | None = None


class AssessmentResult(StrEnum):
    """Outcome of one preflight check. Unknown is never a pass."""

    PASS = "Pass"  # noqa: S105 (an outcome, no secret)
    FAIL = "Fail"
    UNKNOWN = "Unknown"


class Remedy(StrEnum):
    """What can be done about something that is missing."""

    RESIZE = "Resize"
    UPGRADE_IN_STAGES = "UpgradeInStages"
    ADD_MIDDLEWARE = "AddMiddleware"
    HOST_IN_CLOUD = "HostInCloud"
    REDUCE_SCOPE = "ReduceScope"
    CUSTOMER_ACTION = "CustomerAction"


class AssessmentCheck(ApiModel):
    """One thing that the preflight looked at. What is not strict may be waived at the gate EnvironmentReady."""

    name: Annotated[str, Field(max_length=100)]
    result: AssessmentResult
    strict: bool = True
    waived: bool = False
    message: Text
    remedy: Text | None = None
    remedies: Annotated[list[Remedy], Field(max_length=6, json_schema_extra=list_set())] = Field(
        default=[], description="ways out, the nearest first"
    )

    @property
    def holds(self) -> bool:
        """Whether it keeps the rollout from going on."""
        return self.result is AssessmentResult.FAIL and not self.waived


class Assessment(ApiModel):
    """The preflight's findings; `generation` is the spec's that they speak of."""

    generation: Annotated[int, Field(ge=0)]
    checks: Annotated[list[AssessmentCheck], Field(max_length=64, json_schema_extra=list_map("name"))] = []


class NextAction(ApiModel):
    """Who holds this up, and what they must do."""

    who: Annotated[str, Field(max_length=200)]
    what: Annotated[str, Field(max_length=2048)]
    command: Annotated[str, Field(max_length=1024)] | None = None
    since: Timestamp | None = None
    due: Timestamp | None = None


class Blocked(ApiModel):
    """How long the project has stood still for one cause, without the time since `since`, when it is there now."""

    reason: Annotated[str, Field(max_length=128)]
    total: Duration = "0s"
    since: Timestamp | None = None


class ImplementationStatus(ApiModel):
    """A report, derived anew in every pass from spec, releases, migrations and checks."""

    observed_generation: int = -1
    phase: Phase | None = None
    wave: Annotated[int, Field(ge=0, description="the highest wave that is open")] | None = None
    live: Annotated[str, Field(max_length=20, description="modules live, of all: 3/7")] | None = None
    waiting_on: Annotated[str, Field(max_length=300)] | None = None
    modules: Annotated[list[ModuleStatus], Field(max_length=MAX_MODULES, json_schema_extra=list_map("name"))] = []
    next_actions: Annotated[
        list[NextAction], Field(max_length=20, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = []
    blocked: Annotated[list[Blocked], Field(max_length=32, json_schema_extra=list_map("reason"))] = []
    assessment: Assessment | None = None
    scope: ScopeStatus | None = None
    schedule: ScheduleStatus | None = None
    gates: Annotated[
        list[GateStatus], Field(max_length=MAX_GATES, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = Field(default=[], description="gates that persons decide; those that are not decided first")
    training: Annotated[list[TrainingStatus], Field(max_length=32, json_schema_extra=list_map("role"))] = []
    tests: UserTestsStatus | None = None
    defects: DefectsStatus | None = None
    business_events: Annotated[
        list[CaseName], Field(max_length=100, json_schema_extra=list_set(), description="attested as passed")
    ] = []
    issues: Annotated[str, Field(max_length=40, description="open defects of S1/S2")] | None = None
    unheeded: Annotated[list[UnheededAttestation], Field(max_length=20, json_schema_extra=list_map("name"))] = Field(
        default=[], description="Attestations that change nothing; the newest of them"
    )
    last_handled_retry_at: Annotated[str, Field(max_length=100)] | None = None
    last_handled_reconcile_at: Annotated[str, Field(max_length=100)] | None = None
    conditions: Conditions = []


PRINTER_COLUMNS: list[tuple[str, str, str]] = [
    ("Customer", "string", ".spec.customer.code"),
    ("Phase", "string", ".status.phase"),
    ("Wave", "integer", ".status.wave"),
    ("Live", "string", ".status.live"),
    ("Waiting-On", "string", ".status.waitingOn"),
    ("Issues", "string", ".status.issues"),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
    ("Age", "date", ".metadata.creationTimestamp"),
]
