"""MigrationJob: legacy files into the tables of a module's database, counted, checked and certified."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pilotage.api.v1alpha1.common import (
    ApiModel,
    Conditions,
    Decimal,
    DnsLabel,
    Duration,
    LocalReference,
    ObjectName,
    Quantity,
    Sha256,
    Text,
    Timestamp,
    list_map,
    list_set,
    validations,
)
from pilotage.api.v1alpha1.implementation import ANY

MAX_OBJECTS = 16
MAX_FIELDS = 128
MAX_CHECKS = 32
MAX_CODES = 32
MAX_OPEN_MAPPINGS = 20
MAX_PARALLELISM = 32

Identifier = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z_][a-z0-9_]*$")]
Header = Annotated[str, Field(min_length=1, max_length=200)]
Constant = Annotated[str, Field(max_length=1024)]
Percent = Annotated[str, Field(min_length=2, max_length=12, pattern=r"^[0-9]{1,3}(\.[0-9]{1,4})?%$")]
RelativePath = Annotated[str, Field(min_length=1, max_length=250, pattern=r"^[^/\\\x00][^\\\x00]*$")]


class Encoding(StrEnum):
    """How the bytes of a file are to be read. `auto` proves one encoding over the whole file or refuses it."""

    AUTO = "auto"
    UTF_8 = "UTF-8"
    GB18030 = "GB18030"
    GBK = "GBK"


class FileFormat(StrEnum):
    """Formats of legacy files. `xlsx` reads xls, xlsb and ods, too."""

    CSV = "csv"
    TSV = "tsv"
    FIXED = "fixed"
    XLSX = "xlsx"
    JSONL = "jsonl"
    PARQUET = "parquet"
    SQLITE = "sqlite"
    DUMP = "dump"


class VolumeSource(ApiModel):
    """Files on a PersistentVolumeClaim of the namespace."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            (
                "!has(self.path) || !self.path.split('/').exists(part, part == '..')",
                "path may not lead out of the volume",
            )
        )
    }

    claim_name: ObjectName
    path: Annotated[RelativePath, Field(description="folder on the volume; default: its root")] | None = None


class ConfigMapSource(ApiModel):
    """Files in a ConfigMap of the namespace: each key is a file, or `key` alone."""

    name: ObjectName
    key: Annotated[str, Field(max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] | None = None


class FileServerSource(ApiModel):
    """Files of a connection of type http or s3, below the URL in its Secret."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            ("!has(self.path) || !self.path.split('/').exists(part, part == '..')", "path may not lead upwards")
        )
    }

    connection: DnsLabel
    path: Annotated[RelativePath, Field(description="folder below the URL; default: the URL itself")] | None = None
    scratch: Annotated[
        Quantity, Field(description="room for the files while the run is planned; larger ones are refused")
    ] = "1Gi"


class Consistency(StrEnum):
    """Why rows that are read one after another belong to one state of a live database.

    Snapshot: one transaction reads them all. Freeze: nobody writes. Replica: its replication was stopped. The last two
    are the customer's word, which is printed in the certificate and checked by row count and greatest key.
    """

    SNAPSHOT = "Snapshot"
    FREEZE = "Freeze"
    REPLICA = "Replica"


class MigrationSource(ApiModel):
    """Where the legacy data are and how they are written: a volume, a ConfigMap, a server or a live database."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            (
                (
                    "[has(self.volume), has(self.configMap), has(self.http), has(self.s3), has(self.connection)]"
                    ".exists_one(x, x)"
                ),
                "give exactly one source: volume, configMap, http, s3 or connection",
            ),
            ("!has(self.consistency) || has(self.connection)", "consistency goes with connection"),
        )
    }

    volume: VolumeSource | None = None
    config_map: ConfigMapSource | None = None
    http: FileServerSource | None = None
    s3: FileServerSource | None = None
    connection: DnsLabel | None = Field(default=None, description="a live database, as the Implementation names it")
    consistency: Consistency | None = Field(default=None, description="of a connection; default: Snapshot")
    encoding: Encoding = Encoding.AUTO
    format: Annotated[FileFormat, Field(description="default: by the ending of the file's name, else csv")] | None = (
        None
    )
    delimiter: Annotated[str, Field(min_length=1, max_length=1, description="of csv; tsv has tabs")] = ","

    @property
    def server(self) -> FileServerSource | None:
        """The server that its files are fetched from, if any."""
        return self.http or self.s3

    @property
    def connection_name(self) -> str | None:
        """The connection of the Implementation that it is read from: a live database, or a server with files."""
        return self.server.connection if self.server else self.connection


class MigrationTarget(ApiModel):
    """The database that is loaded: a connection of the Implementation, and a schema in it."""

    connection: DnsLabel
    schema_: Identifier = Field(default="public", alias="schema")


class Transform(StrEnum):
    """Cleaning of a text before it is checked, applied in the order given."""

    TRIM = "trim"
    HALFWIDTH = "halfwidth"
    UPPER = "upper"
    LOWER = "lower"
    MONEY = "money"
    MOBILE = "mobile"
    ID_NUMBER = "idNumber"


class FieldType(StrEnum):
    """What a text must be. Without a type the target column's own type decides."""

    STRING = "String"
    INTEGER = "Integer"
    DECIMAL = "Decimal"
    BOOLEAN = "Boolean"
    DATE = "Date"
    TIMESTAMP = "Timestamp"


class OnUnmapped(StrEnum):
    """What becomes of a value that `map` does not know."""

    REJECT = "Reject"
    KEEP = "Keep"
    NULL = "Null"


class Reference(ApiModel):
    """Another row that the value names: of an object that this job loads, or of a table that is there already."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            ("has(self.object) != has(self.table)", "a reference names exactly one of object and table"),
        )
    }

    object: DnsLabel | None = Field(default=None, description="an object of this job; it follows merged keys")
    table: Identifier | None = Field(default=None, description="a table of the target schema")
    match: Identifier = Field(description="column whose value the source names")
    use: Identifier = Field(description="column whose value is stored")


class Split(ApiModel):
    """One part of a text."""

    by: Annotated[str, Field(min_length=1, max_length=20)]
    part: Annotated[int, Field(ge=1, le=100, description="from 1; a part that is not there is empty")]


class Join(ApiModel):
    """Several columns of the file as one text; those that are empty are left out."""

    columns: Annotated[list[Header], Field(min_length=2, max_length=8, json_schema_extra=list_set())]
    separator: Annotated[str, Field(max_length=20)] = ""


class Range(ApiModel):
    """Bounds of a number, a date or a moment; both belong to it."""

    min: Annotated[str, Field(max_length=40)] | None = None
    max: Annotated[str, Field(max_length=40)] | None = None


class Length(ApiModel):
    """Bounds of the number of characters."""

    min: Annotated[int, Field(ge=0)] = 0
    max: Annotated[int, Field(ge=0)] | None = None


CHANGING = ("split", "transform", "nulls", "map", "enum", "default")


class FieldMapping(ApiModel):
    """One column of the target: a column of the file, several joined, or a constant."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            (
                f"has(self.from) || has(self.join) || !({' || '.join(f'has(self.{name})' for name in CHANGING)})",
                f"a constant takes none of {', '.join(CHANGING)}",
            ),
            ("!has(self.onUnmapped) || has(self.map)", "onUnmapped goes with map"),
        )
    }

    to: Identifier
    from_: Header | None = Field(default=None, alias="from", description="a column of the file, as its header names it")
    join: Join | None = None
    value: ANY = Field(default=None, description="a constant: text, number or true and false")
    split: Split | None = Field(default=None, description="comes before transform")
    transform: Annotated[
        list[Transform], Field(max_length=8, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = []
    type: FieldType | None = None
    nulls: Annotated[
        list[Constant], Field(max_length=32, json_schema_extra=list_set(), description="values that mean: nothing")
    ] = []
    required: bool = False
    default: Annotated[Constant, Field(description="stands in for an empty value")] | None = None
    pattern: Annotated[str, Field(max_length=256, description="regular expression for the whole value")] | None = None
    length: Length | None = None
    range: Range | None = None
    unique: bool = Field(default=False, description="rows of the file that share the value are quarantined")
    add_hours: Annotated[int, Field(ge=-24, le=24, description="of another zone: 8 makes UTC Beijing time")] = 0
    enum: Annotated[list[Constant], Field(max_length=256, json_schema_extra=list_set())] = []
    map: Annotated[dict[str, Constant], Field(max_length=256)] = {}
    on_unmapped: OnUnmapped | None = Field(default=None, description="default: Reject")
    reference: Reference | None = None


class RowFilter(ApiModel):
    """What a column of the file must be, without white space around it, for a row to be taken."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            (
                "(has(self.__in__) ? 1 : 0) + (has(self.notIn) ? 1 : 0) + (has(self.pattern) ? 1 : 0) == 1",
                "a filter gives exactly one of in, notIn and pattern",
            ),
        )
    }

    column: Header
    in_: Annotated[list[Constant], Field(alias="in", max_length=256, json_schema_extra=list_set())] = []
    not_in: Annotated[list[Constant], Field(max_length=256, json_schema_extra=list_set())] = []
    pattern: Annotated[str, Field(max_length=256, description="regular expression for the whole value")] | None = None


class FixedColumn(ApiModel):
    """A column of a file of fixed width, by its place in the bytes of a line as they are in the file's encoding."""

    name: Header
    start: Annotated[int, Field(ge=1, le=1_000_000, description="its first byte, from 1")]
    width: Annotated[int, Field(ge=1, le=100_000, description="its number of bytes")]


class FileSource(ApiModel):
    """The file, or the table of a live database, that an object is read from, with what differs from spec.source."""

    file: RelativePath | None = None
    encoding: Encoding | None = None
    format: FileFormat | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    member: (
        Annotated[str, Field(min_length=1, max_length=250, description="file in a zip archive of several")] | None
    ) = None
    sheet: (
        Annotated[str, Field(min_length=1, max_length=31, description="of a workbook; default: its first")] | None
    ) = None
    header_row: Annotated[
        int, Field(ge=1, le=1000, description="row of a workbook with the names of the columns, the last of several")
    ] = 1
    columns: Annotated[
        list[FixedColumn],
        Field(max_length=1000, json_schema_extra=list_map("name"), description="of a file of fixed width"),
    ] = []
    table: Annotated[str, Field(min_length=1, max_length=128, description="of a database or a dump")] | None = None
    query: Annotated[str, Field(min_length=1, max_length=8192, description="in place of table, for SQLite")] | None = (
        None
    )
    key: Annotated[
        list[Header],
        Field(
            max_length=8,
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
            description="columns of a live table by which its rows are read in order",
        ),
    ] = []


class DuplicatePolicy(StrEnum):
    """What becomes of rows of one file that have the same key."""

    FAIL = "Fail"
    FIRST = "First"
    LAST = "Last"
    QUARANTINE_ALL = "QuarantineAll"


class SourceDuplicates(ApiModel):
    """Which of several rows with one key counts; decided over the whole file, never by the order of chunks."""

    policy: DuplicatePolicy = DuplicatePolicy.FAIL
    order_by: Header | None = Field(
        default=None, description="column that First and Last go by, compared byte by byte; default: order in the file"
    )


class ConflictPolicy(StrEnum):
    """What becomes of a row whose key the target has already."""

    FAIL = "Fail"
    KEEP_TARGET = "KeepTarget"
    OVERWRITE = "Overwrite"
    NEWER_WINS = "NewerWins"
    FILL_NULLS = "FillNulls"
    QUARANTINE = "Quarantine"


class OnConflict(ApiModel):
    """What becomes of a row whose key the target has already, from before or from an earlier object."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            ("has(self.column) == (has(self.policy) && self.policy == 'NewerWins')", "column goes with NewerWins"),
        )
    }

    policy: ConflictPolicy = ConflictPolicy.FAIL
    column: (
        Annotated[Identifier, Field(description="of NewerWins: the row with the greater value wins; a tie is kept")]
        | None
    ) = None


class CodeBudget(ApiModel):
    """How many rows one kind of error may cost."""

    code: Annotated[str, Field(max_length=32, pattern=r"^E_[A-Z_]+$")]
    rows: Annotated[int, Field(ge=0)]


class ErrorBudget(ApiModel):
    """How many rows of one object may be quarantined; the strictest limit trips. Looked at after every chunk."""

    rows: Annotated[int, Field(ge=0)] | None = None
    percent: Percent | None = None
    min_rows_before_percent: Annotated[
        int, Field(ge=0, description="until so many rows are read, percent is not looked at")
    ] = 1000
    per_code: Annotated[list[CodeBudget], Field(max_length=MAX_CODES, json_schema_extra=list_map("code"))] = []


StagingStatement = Annotated[str, Field(max_length=8192, pattern=r"^(update|UPDATE) staged\s")]


class MigrationObject(ApiModel):
    """One file into one table."""

    name: DnsLabel
    from_: FileSource = Field(alias="from")
    to: Identifier = Field(description="table of the target schema")
    key: Annotated[
        list[Identifier],
        Field(min_length=1, max_length=8, json_schema_extra=list_set(), description="columns that identify a row"),
    ]
    where: Annotated[
        list[RowFilter],
        Field(
            max_length=8,
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
            description="rows for which all of this holds are taken, the others are counted as filtered",
        ),
    ] = []
    fields: Annotated[list[FieldMapping], Field(min_length=1, max_length=MAX_FIELDS, json_schema_extra=list_map("to"))]
    sql: Annotated[
        list[StagingStatement],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
            description="UPDATE statements over the rows as view `staged`, before anything is decided about them",
        ),
    ] = []
    source_duplicates: SourceDuplicates = SourceDuplicates()
    on_conflict: OnConflict = OnConflict()
    error_budget: ErrorBudget | None = Field(default=None, description="replaces spec.errorBudget for this object")


class CheckType(StrEnum):
    """Reconciliation checks."""

    ROW_COUNT = "RowCount"
    CONTROL_TOTAL = "ControlTotal"
    CHECKSUM = "Checksum"


class ReconcileCheck(ApiModel):
    """A number that must agree on both sides before the load is committed.

    RowCount compares the rows found in the target with those that count as there; ControlTotal compares the sum of
    `field` over the source, less the rows left out, with the sum in the target, and with `groupBy` the sums of each
    group; Checksum compares every written row, as it was to be written, with what the target gives back. `expected`
    is the figure that the customer gives for the source.
    """

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            ("(self.type == 'ControlTotal') == has(self.field)", "field goes with ControlTotal, which needs it"),
            ("!has(self.groupBy) || self.type == 'ControlTotal'", "groupBy goes with ControlTotal"),
            ("!has(self.expected) || self.type != 'Checksum'", "expected goes with RowCount and ControlTotal"),
        )
    }

    name: DnsLabel
    object: DnsLabel
    type: CheckType
    field: Identifier | None = None
    group_by: Identifier | None = None
    expected: Decimal | None = None
    tolerance: Decimal = "0"


class MigrationResources(ApiModel):
    """Processor and memory of one worker."""

    cpu: Quantity = "100m"
    memory: Quantity = "512Mi"


class RunKind(StrEnum):
    """How far a run may go.

    A Mock undoes everything in the end; a Rehearsal loads copies of the tables in a scratch schema; a Final run loads;
    a Delta brings what changed in the source since the last run that loaded.
    """

    MOCK = "Mock"
    REHEARSAL = "Rehearsal"
    FINAL = "Final"
    DELTA = "Delta"

    @property
    def loads(self) -> bool:
        """Whether what it brings stays in the tables that people work with."""
        return self in {RunKind.FINAL, RunKind.DELTA}


class Dependency(ApiModel):
    """A MigrationJob of the namespace that must have succeeded."""

    name: ObjectName
    run: RunKind = Field(default=RunKind.FINAL, description="how far it must have come; default: Final")


class RehearsalPolicy(ApiModel):
    """What may differ between the last Rehearsal and the Final run; by default nothing may."""

    max_delta: Annotated[
        Percent,
        Field(description="the files may be others, with so many more or fewer rows for each object"),
    ] = "0%"


class DeletePolicy(StrEnum):
    """What becomes of rows that an earlier run loaded and the source no longer has."""

    IGNORE = "Ignore"
    REPORT = "Report"
    APPLY = "Apply"


class TargetChangedPolicy(StrEnum):
    """What becomes of a row that changed in the source while somebody changed it in the target, too."""

    REFUSE = "Refuse"
    QUARANTINE = "Quarantine"


class DeltaPolicy(ApiModel):
    """What a Delta may do. It is looked at with `run: Delta` only."""

    round: Annotated[int, Field(ge=1, description="a higher one is another Delta of the same spec")] = 1
    deletes: DeletePolicy = Field(
        default=DeletePolicy.REPORT,
        description="rows that are gone from the source: not looked for, listed, or deleted in the target",
    )
    max_deleted: Annotated[
        Percent, Field(description="with Apply: more of an object's rows than this are not deleted, the run is Paused")
    ] = "10%"
    on_target_changed: TargetChangedPolicy = Field(
        default=TargetChangedPolicy.REFUSE,
        description="rows that people changed since they were loaded: the whole run is refused with a list, or these "
        "rows are quarantined and the others brought",
    )


class Rollback(ApiModel):
    """What taking a Final run or a Delta back needs, and which run is to be taken back."""

    before_images: bool = Field(default=False, description="keep what each written row was before, and its digest")
    run: (
        Annotated[
            str, Field(max_length=36, description="id of the run that is to be taken back: a Final one or a Delta")
        ]
        | None
    ) = None


class MigrationJobSpec(ApiModel):
    """What is loaded, how it is mapped, and which numbers must agree. A changed spec is a new run."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": validations(
            (
                "!has(self.reconcile) || self.reconcile.all(c, self.objects.exists(o, o.name == c.object))",
                "reconcile names an object that is not in spec.objects",
            ),
        )
    }

    implementation_ref: LocalReference
    module: DnsLabel = Field(description="the module that is loaded; it must run before, and waits for the data")
    run: RunKind = Field(default=RunKind.FINAL, description="how far it may go; default: Final")
    rehearsal: RehearsalPolicy = RehearsalPolicy()
    delta: DeltaPolicy = DeltaPolicy()
    depends_on: Annotated[list[Dependency], Field(max_length=16, json_schema_extra=list_map("name"))] = []
    deadline: Annotated[Duration, Field(description="how long one stage of a run may take")] = "2h"
    source: MigrationSource
    target: MigrationTarget
    objects: Annotated[
        list[MigrationObject], Field(min_length=1, max_length=MAX_OBJECTS, json_schema_extra=list_map("name"))
    ]
    error_budget: ErrorBudget = ErrorBudget(rows=0)
    reconcile: Annotated[list[ReconcileCheck], Field(max_length=MAX_CHECKS, json_schema_extra=list_map("name"))] = []
    parallelism: Annotated[int, Field(ge=1, le=MAX_PARALLELISM, description="workers that share the chunks")] = 2
    resources: MigrationResources = MigrationResources()
    rollback: Rollback = Rollback()


class MigrationPhase(StrEnum):
    """Where a run stands. Rejected ran and the numbers are wrong; Failed did not run; Paused is over its budget."""

    WAITING = "Waiting"
    PLANNING = "Planning"
    LOADING = "Loading"
    RECONCILING = "Reconciling"
    SUCCEEDED = "Succeeded"
    REJECTED = "Rejected"
    FAILED = "Failed"
    PAUSED = "Paused"
    ROLLED_BACK = "RolledBack"


Count = Annotated[int, Field(ge=0)]


class Counts(ApiModel):
    """Every row that was read has exactly one outcome; `balanced` says that they add up."""

    read: Count = 0
    loaded: Count = 0
    updated: Count = 0
    kept: Annotated[int, Field(ge=0, description="the target's row was there and stays")] = 0
    filtered: Annotated[int, Field(ge=0, description="blank lines, and rows that `where` or `sql` leaves out")] = 0
    duplicates: Annotated[int, Field(ge=0, description="gave way to another row with the same key")] = 0
    unchanged: Annotated[int, Field(ge=0, description="of a Delta: as it was when it was loaded")] = 0
    quarantined: Count = 0
    deleted: Annotated[int, Field(ge=0, description="of a Delta: gone from the source, deleted in the target")] = 0
    missing: Annotated[int, Field(ge=0, description="of a Delta: gone from the source, still in the target")] = 0
    refused: Annotated[
        int, Field(ge=0, description="of a Delta: rows of the target that people work with, and which therefore stay")
    ] = 0
    balanced: bool = False


class ObjectCounts(Counts):
    """Counts of one object."""

    name: DnsLabel


class MigrationProgress(ApiModel):
    """How far the workers are."""

    chunks_done: Count = 0
    chunks_total: Count = 0
    rows_per_second: Count = 0
    eta: (
        Annotated[Timestamp, Field(description="when the last chunk will be done at the speed so far, to the minute")]
        | None
    ) = None


class CheckResult(ApiModel):
    """What a reconciliation check found."""

    name: DnsLabel
    passed: bool
    source: Annotated[str, Field(max_length=60)] = ""
    target: Annotated[str, Field(max_length=60)] = ""
    message: Text = ""


class ErrorCount(ApiModel):
    """How many rows one kind of error cost, with one place to look at. Never row data."""

    object: DnsLabel
    code: Annotated[str, Field(max_length=32)]
    column: Annotated[str, Field(max_length=200)] = ""
    rows: Count
    line: Annotated[int, Field(ge=0, description="line of the first such row")] = 0


class OpenMapping(ApiModel):
    """A value that `map` does not know and should. It is a code of the old system, cut at 40 characters."""

    object: DnsLabel
    column: Annotated[str, Field(max_length=200)]
    value: Annotated[str, Field(max_length=40)]
    rows: Count


class RunRecord(ApiModel):
    """A run that ended."""

    id: Annotated[str, Field(max_length=36)]
    run: RunKind = RunKind.FINAL
    phase: MigrationPhase
    spec_digest: Annotated[str, Field(max_length=80)]
    started_at: Timestamp | None = None
    finished_at: Timestamp
    read: Count = 0
    loaded: Count = 0
    quarantined: Count = 0
    certificate_digest: Sha256 | None = None


class RehearsalRecord(ApiModel):
    """The Rehearsal that a Final run is held to."""

    id: Annotated[str, Field(max_length=36)]
    certificate_digest: Sha256
    predicted_seconds: Annotated[int, Field(ge=0, description="how long the run takes, by the rehearsal")]


class MigrationJobStatus(ApiModel):
    """The run of the present spec, and the runs before it."""

    observed_generation: int = -1
    phase: MigrationPhase | None = None
    run: RunKind | None = None
    run_id: Annotated[str, Field(max_length=36)] | None = None
    spec_digest: Annotated[str, Field(max_length=80)] | None = None
    started_at: Timestamp | None = None
    counts: Counts | None = None
    objects: Annotated[list[ObjectCounts], Field(max_length=MAX_OBJECTS, json_schema_extra=list_map("name"))] = []
    progress: MigrationProgress | None = None
    progress_text: Annotated[str, Field(max_length=40, description="chunks done, of all: 3/12")] | None = None
    checks: Annotated[list[CheckResult], Field(max_length=MAX_CHECKS, json_schema_extra=list_map("name"))] = []
    top_errors: Annotated[
        list[ErrorCount], Field(max_length=8, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = []
    open_mappings: Annotated[
        list[OpenMapping],
        Field(
            max_length=MAX_OPEN_MAPPINGS,
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
            description="values to be added to a field's map, or to be mended in the file; the most frequent first",
        ),
    ] = []
    certificate_digest: Sha256 | None = None
    rehearsal: RehearsalRecord | None = None
    runs: Annotated[list[RunRecord], Field(max_length=10, json_schema_extra={"x-kubernetes-list-type": "atomic"})] = []
    last_handled_retry_at: Annotated[str, Field(max_length=100)] | None = None
    conditions: Conditions = []


def spec_problem(spec: MigrationJobSpec) -> str | None:
    """What the schema cannot refuse: the first contradiction inside the spec, in words, or None."""
    names = {found.name for found in spec.objects}
    for found in spec.objects:
        columns = {field.to for field in found.fields}
        if missing := [column for column in found.key if column not in columns]:
            return f"object {found.name}: key column {missing[0]} is not among its fields"
        if problem := _source_problem(spec.source, found) or _fields_problem(found, names):
            return problem
    if spec.run is RunKind.DELTA and (shared := _shared_table(spec)):
        return f"run Delta: the objects {shared} fill one table, and it cannot be told whose change counts"
    by_name = {found.name: found for found in spec.objects}
    for check in spec.reconcile:
        if check.object not in by_name:
            return f"check {check.name}: object {check.object} is not in spec.objects"
        fields = {field.to for field in by_name[check.object].fields}
        for named in (check.field, check.group_by):
            if named and named not in fields:
                return f"check {check.name}: field {named} is not a field of object {check.object}"
    return None


def _shared_table(spec: MigrationJobSpec) -> str:
    by_table: dict[str, list[str]] = {}
    for found in spec.objects:
        by_table.setdefault(found.to, []).append(found.name)
    return next((" and ".join(names) for names in by_table.values() if len(names) > 1), "")


def _source_problem(source: MigrationSource, found: MigrationObject) -> str | None:
    chosen = found.from_
    if chosen.table is not None and chosen.query is not None:
        return f"object {found.name}: give one of from.table and from.query"
    if source.connection is None:
        return None if chosen.file else f"object {found.name}: from.file names none of the source's files"
    if chosen.file or not (chosen.table or chosen.query):
        return f"object {found.name}: of a connection, give from.table or from.query, and no file"
    if not chosen.key and source.consistency not in {None, Consistency.SNAPSHOT}:
        return f"object {found.name}: {source.consistency} reads by key: give from.key, the columns of a unique key"
    return None


def _fields_problem(found: MigrationObject, names: set[str]) -> str | None:
    for field in found.fields:
        if sum(given is not None for given in (field.from_, field.join, field.value)) != 1:
            return f"object {found.name}, field {field.to}: give exactly one of from, join and value"
        if field.reference and field.reference.object and field.reference.object not in names:
            return f"object {found.name}, field {field.to}: object {field.reference.object} is not in spec.objects"
    column = found.on_conflict.column
    if (found.on_conflict.policy is ConflictPolicy.NEWER_WINS) != (column is not None):
        return f"object {found.name}: onConflict.column goes with NewerWins, which needs it"
    if column and column not in {field.to for field in found.fields if field.to not in found.key}:
        return f"object {found.name}: onConflict.column {column} is none of its fields beside the key"
    return None


PRINTER_COLUMNS: list[tuple[str, str, str]] = [
    ("Module", "string", ".spec.module"),
    ("Run", "string", ".status.run"),
    ("Phase", "string", ".status.phase"),
    ("Progress", "string", ".status.progressText"),
    ("Read", "integer", ".status.counts.read"),
    ("Loaded", "integer", ".status.counts.loaded"),
    ("Quarantined", "integer", ".status.counts.quarantined"),
    ("Balanced", "boolean", ".status.counts.balanced"),
    ("Age", "date", ".metadata.creationTimestamp"),
]
