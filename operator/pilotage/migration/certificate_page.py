"""The certificate as a page to print and sign, in the customer's language. It says nothing that the JSON does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

LANGUAGES: Final = ("zh-CN", "en")
OUTCOMES: Final = ("loaded", "updated", "kept", "filtered", "duplicates", "unchanged", "quarantined")
BESIDE: Final = ("deleted", "missing", "refused")

_TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "title": "Data migration certificate",
        "lead": "Every row that was read has exactly one outcome. The rows reached the database in one transaction, in "
        "which the checks below were made; had one of them failed, nothing would have been loaded.",
        "lead_Mock": "A trial (Mock): all of this was done in one transaction, which was then undone. No row is in the "
        "database.",
        "lead_Rehearsal": "A rehearsal: the rows were loaded into copies of the tables, in a schema of their own. No "
        "row is in the tables that people work with. The final run is held to these sources, this mapping and these "
        "rules.",
        "lead_Delta": "A delta: of the rows that were read, those that are new or changed since the run below were "
        "written, in one transaction, in which the checks below were made; had one of them failed, nothing would have "
        "been written. Rows that people had changed in the target meanwhile were not written over.",
        "duration": "Seconds for loading and for settling",
        "run": "Run",
        "database": "Database",
        "ended": "Ended",
        "digest": "Digest of this certificate",
        "plan": "Digest of sources, mapping and rules",
        "sources": "Sources",
        "file": "File",
        "encoding": "Encoding",
        "consistency": "Consistency",
        "Snapshot": "one transaction's snapshot",
        "Freeze": "frozen, as the customer declared; row count and greatest key unchanged",
        "Replica": "stopped replica, as the customer declared; row count and greatest key unchanged",
        "sha256": "SHA-256",
        "statements": "Changed by SQL of the project's own",
        "statement": "Statement",
        "order": "Order of objects",
        "filledAfterwards": "Columns filled after all objects",
        "deferred": "Columns whose constraints were deferred",
        "identity": "Accounting identity",
        "object": "Object",
        "read": "Read",
        "loaded": "Loaded",
        "updated": "Updated",
        "kept": "Kept in target",
        "filtered": "Filtered",
        "duplicates": "Duplicates",
        "unchanged": "Unchanged",
        "deleted": "Deleted in target",
        "missing": "Gone from the source, still in target",
        "refused": "Refused: people work with the row",
        "gone": "Rows of the target beside those read",
        "baseline": "Goes on from run",
        "mappingChanged": "Objects whose mapping is another one since",
        "quarantined": "Quarantined",
        "adds_up": "Adds up",
        "yes": "yes",
        "no": "NO",
        "total": "Together",
        "checks": "Checks",
        "check": "Check",
        "source": "Source",
        "target": "Target",
        "passed": "Passed",
        "found": "Found",
        "groups": "Sums by group",
        "group": "Group",
        "rows": "Rows",
        "errors": "Why rows were quarantined",
        "code": "Code",
        "column": "Column",
        "line": "First line",
        "meaning": "Meaning",
        "none": "none",
        "versions": "Versions",
        "signatures": "Signatures",
        "supplier": "Implementation engineer",
        "customer": "Customer, data owner",
        "finance": "Customer, finance",
        "date": "Date",
    },
    "zh-CN": {
        "title": "数据迁移证书",
        "lead": "读入的每一行都有且只有一个去向。全部数据在同一个数据库事务内写入，下列核对也在该事务内完成；"
        "任何一项核对不通过，则一行也不会写入。",
        "lead_Mock": "试运行（Mock）：全部操作在同一个数据库事务内完成，随后整体撤销。数据库中没有写入任何一行。",
        "lead_Rehearsal": "演练（Rehearsal）：数据写入独立模式（schema）中的表副本，业务表中没有写入任何一行。"
        "正式迁移须与本次演练的来源、映射和规则一致。",
        "lead_Delta": "增量（Delta）：自下列运行以来新增或变更的行在同一个数据库事务内写入，下列核对也在该事务内完成；"
        "任何一项核对不通过，则一行也不会写入。其间在目标系统中被人修改过的记录未被覆盖。",
        "duration": "装载与结算用时（秒）",
        "run": "运行编号",
        "database": "数据库",
        "ended": "结束时间",
        "digest": "本证书摘要",
        "plan": "来源、映射与规则的摘要",
        "sources": "数据来源",
        "file": "文件",
        "encoding": "字符编码",
        "consistency": "一致性",
        "Snapshot": "单一事务快照",
        "Freeze": "客户声明停写；行数与最大主键前后一致",
        "Replica": "客户声明从库已停止复制；行数与最大主键前后一致",
        "sha256": "SHA-256",
        "statements": "由项目自定义 SQL 修改",
        "statement": "语句",
        "order": "对象装载顺序",
        "filledAfterwards": "全部对象装载后回填的列",
        "deferred": "约束延迟检查的列",
        "identity": "行数恒等式",
        "object": "对象",
        "read": "读入",
        "loaded": "新增",
        "updated": "更新",
        "kept": "保留目标原值",
        "filtered": "过滤",
        "duplicates": "重复",
        "unchanged": "未变",
        "deleted": "目标中已删除",
        "missing": "来源中已不存在，目标中仍保留",
        "refused": "未写入：目标中的记录已有人使用",
        "gone": "不在读入行内的目标记录",
        "baseline": "承接的运行编号",
        "mappingChanged": "此后映射有变更的对象",
        "quarantined": "隔离",
        "adds_up": "相符",
        "yes": "是",
        "no": "否",
        "total": "合计",
        "checks": "核对项",
        "check": "核对",
        "source": "来源",
        "target": "目标",
        "passed": "通过",
        "found": "结果",
        "groups": "分组合计",
        "group": "分组",
        "rows": "行数",
        "errors": "隔离原因",
        "code": "代码",
        "column": "列",
        "line": "首个行号",
        "meaning": "含义",
        "none": "无",
        "versions": "版本",
        "signatures": "签字",
        "supplier": "实施工程师",
        "customer": "客户数据负责人",
        "finance": "客户财务负责人",
        "date": "日期",
    },
}
_MEANINGS: Final[Mapping[str, tuple[str, str]]] = {
    "E_ENCODING": ("字节不属于声明的字符编码", "bytes are not of the encoding"),
    "E_PARSE": ("引号错位或未闭合", "quotes are misplaced or never closed"),
    "E_COLUMNS": ("列数与表头不符", "another number of columns than the header"),
    "E_NULL": ("必填值为空", "a required value is empty"),
    "E_TYPE": ("值的类型不符", "a value is not of its type"),
    "E_RANGE": ("值超出范围", "a value is out of range"),
    "E_LENGTH": ("值过长或过短", "a value is too long or too short"),
    "E_ENUM": ("值不在允许的列表内", "a value is not allowed"),
    "E_PATTERN": ("值不符合格式", "a value does not match its pattern"),
    "E_MAPPING": ("值没有对应的映射", "a value is not in the mapping"),
    "E_NUL_BYTE": ("含有 PostgreSQL 无法存储的空字符", "holds U+0000, which PostgreSQL cannot store"),
    "E_FK": ("引用的记录不存在或不唯一", "a reference names no row, or more than one"),
    "E_DB": ("目标库的约束或触发器拒绝该行", "a constraint or trigger of the target refuses the row"),
    "E_DUP_SOURCE": ("来源中主键或唯一值重复", "the key, or a unique value, is there twice in the source"),
    "E_TARGET_CHANGED": (
        "装载之后，目标中的该记录已被人修改或删除",
        "somebody changed or deleted the row in the target since it was loaded",
    ),
    "E_PK_CONFLICT": ("目标中已有该主键", "the key is already in the target"),
}
_STYLE: Final = """
body { font: 11pt/1.5 "Noto Serif CJK SC", "Songti SC", SimSun, serif; color: #111; max-width: 60em; margin: 2em auto; }
h1 { font-size: 18pt; }
h2 { font-size: 12pt; margin: 1.6em 0 .4em; }
table { border-collapse: collapse; width: 100%; }
th, td { border: 1px solid #999; padding: .25em .6em; text-align: left; }
th { background: #f2f2f2; font-weight: 600; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font: 9pt/1.4 monospace; overflow-wrap: anywhere; }
.signature td { height: 3.5em; vertical-align: bottom; }
@media print { body { margin: 0; } table { break-inside: avoid; } }
"""


def certificate_page(certificate: Mapping[str, Any], digest: str, ended: str, language: str) -> str:
    """The page as HTML, whole in itself. `ended` is when the run ended, as text; the certificate has no clock."""
    text = _TEXTS[language]
    facts = [
        (text["run"], certificate["run"]),
        (text["database"], certificate["database"]),
        (text["ended"], ended),
        (text["digest"], digest),
        (text["plan"], certificate["planHash"]),
        (text["duration"], ", ".join(f"{seconds:g}" for seconds in certificate.get("durations", {}).values())),
        (text["versions"], ", ".join(f"{name} {version}" for name, version in certificate["versions"].items())),
    ]
    facts += _baseline(certificate.get("baseline") or {}, text)
    order = certificate.get("order") or {}
    if len(order.get("objects", ())) > 1:
        facts.append((text["order"], ", ".join(order["objects"])))
    facts += [(text[name], ", ".join(order[name])) for name in ("filledAfterwards", "deferred") if order.get(name)]
    groups, statements = certificate.get("groups") or [], certificate.get("sql") or []
    lead = f"lead_{certificate.get('runKind', '')}"
    parts = [
        f"<h1>{escape(text['title'])}</h1>",
        f"<p>{escape(text.get(lead, text['lead']))}</p>",
        _table([], [[_head(name), _code(value)] for name, value in facts]),
        f"<h2>{escape(text['sources'])}</h2>",
        _table(
            [text["file"], text["encoding"], text["consistency"], text["sha256"]],
            [
                [
                    _cell(found["file"]),
                    _cell(found["encoding"]),
                    _cell(text[found["consistency"]] if "consistency" in found else ""),
                    _code(found["sha256"]),
                ]
                for found in certificate["sources"]
            ],
        ),
        *([f"<h2>{escape(text['statements'])}</h2>", _statements(statements, text)] if statements else []),
        f"<h2>{escape(text['identity'])}</h2>",
        _identity(certificate, text),
        *([f"<h2>{escape(text['gone'])}</h2>", _gone(certificate, text)] if certificate.get("baseline") else []),
        f"<h2>{escape(text['checks'])}</h2>",
        _checks(certificate["checks"], text),
        *([f"<h2>{escape(text['groups'])}</h2>", _groups(groups, text)] if groups else []),
        f"<h2>{escape(text['errors'])}</h2>",
        _errors(certificate["errors"], text, language),
        f"<h2>{escape(text['signatures'])}</h2>",
        _signatures(text),
    ]
    title = escape(f"{text['title']} {certificate['run']}")
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="{language}"><head>{head}</head><body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _baseline(baseline: Mapping[str, Any], text: Mapping[str, str]) -> list[tuple[str, str]]:
    if not baseline:
        return []
    facts = [(text["baseline"], f"{baseline['run']}, {baseline['certificateDigest']}")]
    changed = baseline["mappingChanged"]
    return [*facts, (text["mappingChanged"], ", ".join(changed))] if changed else facts


def _gone(certificate: Mapping[str, Any], text: Mapping[str, str]) -> str:
    rows = [[_cell(found["name"]), *(_number(found[column]) for column in BESIDE)] for found in certificate["objects"]]
    return _table([text["object"], *(text[name] for name in BESIDE)], rows)


def _statements(statements: Sequence[Mapping[str, Any]], text: Mapping[str, str]) -> str:
    rows = [[_cell(found["object"]), _code(found["statement"]), _number(found["rows"])] for found in statements]
    return _table([text["object"], text["statement"], text["rows"]], rows)


def _identity(certificate: Mapping[str, Any], text: Mapping[str, str]) -> str:
    outcomes = [name for name in OUTCOMES if name != "unchanged" or certificate.get("baseline")]
    header = [
        text["object"],
        text["read"],
        *(f"{'=' if at == 0 else '+'} {text[name]}" for at, name in enumerate(outcomes)),
    ]
    rows = [
        [
            _cell(name),
            *(_number(found.get(column, 0)) for column in ("read", *outcomes)),
            _cell(_said(found["balanced"], text)),
        ]
        for name, found in [
            *((found["name"], found) for found in certificate["objects"]),
            (text["total"], certificate["counts"]),
        ]
    ]
    return _table([*header, text["adds_up"]], rows)


def _checks(checks: Sequence[Mapping[str, Any]], text: Mapping[str, str]) -> str:
    rows = [
        [
            _cell(found["name"]),
            _number(found.get("source", "")),
            _number(found.get("target", "")),
            _cell(_said(found["passed"], text)),
            _cell(found.get("message", "")),
        ]
        for found in checks
    ]
    return _table([text["check"], text["source"], text["target"], text["passed"], text["found"]], rows, text["none"])


def _groups(groups: Sequence[Mapping[str, Any]], text: Mapping[str, str]) -> str:
    rows = [
        [
            _cell(found["check"]),
            _cell(found["group"]),
            *(_number(found[column]) for column in ("rows", "source", "target")),
        ]
        for found in groups
    ]
    return _table([text["check"], text["group"], text["rows"], text["source"], text["target"]], rows)


def _errors(errors: Sequence[Mapping[str, Any]], text: Mapping[str, str], language: str) -> str:
    rows = []
    for found in errors:
        chinese, english = _MEANINGS.get(found["code"], ("", ""))
        meaning = chinese if language == "zh-CN" else english
        cells = [_cell(found["object"]), _cell(found["code"]), _cell(meaning), _cell(found.get("column", ""))]
        rows.append([*cells, _number(found["rows"]), _number(found.get("line", ""))])
    header = [text["object"], text["code"], text["meaning"], text["column"], text["rows"], text["line"]]
    return _table(header, rows, text["none"])


def _signatures(text: Mapping[str, str]) -> str:
    people = (text["supplier"], text["customer"], text["finance"])
    cells = "".join(f"<td>{escape(person)}<br>{escape(text['date'])}</td>" for person in people)
    return f'<table class="signature"><tr>{cells}</tr></table>'


def _said(holds: bool, text: Mapping[str, str]) -> str:
    return text["yes"] if holds else text["no"]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], empty: str = "") -> str:
    lines = [f"<tr>{''.join(_head(name) for name in header)}</tr>"] if header else []
    lines += [f"<tr>{''.join(row)}</tr>" for row in rows]
    if len(lines) <= bool(header) and empty:
        return f"<p>{escape(empty)}</p>"
    return "<table>" + "\n".join(lines) + "</table>"


def _head(text: str) -> str:
    return f"<th>{escape(text)}</th>"


def _cell(value: object) -> str:
    return f"<td>{escape(str(value))}</td>"


def _code(value: object) -> str:
    return f"<td><code>{escape(str(value))}</code></td>"


def _number(value: object) -> str:
    shown = f"{value:,}" if isinstance(value, int) else str(value)
    return f'<td class="number">{escape(shown)}</td>'
