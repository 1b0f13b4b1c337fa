"""Archives written header by header, as no packer would write them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

from tests.unit.delivery.builders import CHART_YAML, archive, chart, entry

ELSEWHERE = "http://127.0.0.1:1/latest/meta-data"


def stream(*members: bytes) -> bytes:
    """The members as a .tgz."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as out:
        out.write(b"".join(members) + bytes(1024))
    return packed.getvalue()


def member(name: str, data: bytes, kind: bytes = tarfile.REGTYPE, form: int = tarfile.USTAR_FORMAT) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mode = len(data), kind, 0o644
    return info.tobuf(form) + data + bytes(-len(data) % 512)


def pax(kind: bytes = tarfile.XHDTYPE, **fields: str) -> bytes:
    """A header of extended fields for the next member, or of kind `g` for all that follow."""
    body = b""
    for name, value in fields.items():
        rest = len(name) + len(value) + 3
        length = rest + len(str(rest))
        body += f"{rest + len(str(length))} {name}={value}\n".encode()
    return member("PaxHeaders/a", body, kind)


def gnu_name(name: str) -> bytes:
    """The next member's name in GNU's own way."""
    return member("././@LongLink", name.encode() + b"\0", tarfile.GNUTYPE_LONGNAME, tarfile.GNU_FORMAT)


def hidden_schemas(elsewhere: str = ELSEWHERE) -> dict[str, bytes]:
    """Charts whose value schema refers to another place, each hidden in another way."""
    schema = json.dumps({"$ref": elsewhere})
    inner = chart({"values.schema.json": schema}, name="inner")
    sub = CHART_YAML.replace("core", "sub")
    described = member("core/Chart.yaml", CHART_YAML.encode())
    plain = member("core/values.schema.json", schema.encode())
    description = entry("core/Chart.yaml", CHART_YAML)
    return {
        "in plain sight": chart({"values.schema.json": schema}),
        "in a chart inside": chart({"charts/sub/Chart.yaml": sub, "charts/sub/values.schema.json": schema}),
        "in a packed chart": chart({"charts/inner-1.tgz": inner}),
        "in a chart packed in an open one": chart(
            {"charts/sub/Chart.yaml": sub, "charts/sub/charts/inner-1.tgz": inner}
        ),
        "in a chart packed in a packed one": chart(
            {"charts/mid-1.tgz": chart({"charts/inner-1.tgz": inner}, name="mid")}
        ),
        "behind a second name": stream(
            described,
            pax(path="core/harmless.txt"),
            gnu_name("core/values.schema.json"),
            member("core/x", schema.encode()),
        ),
        "behind a second name, the other way round": stream(
            described,
            gnu_name("core/values.schema.json"),
            pax(path="core/harmless.txt"),
            member("core/x", schema.encode()),
        ),
        "behind a name for all": stream(described, pax(tarfile.XGLTYPE, path="core/harmless.txt"), plain),
        "behind a prefix": stream(
            described, member("core/values.schema.json", schema.encode(), form=tarfile.GNU_FORMAT)
        ),
        "behind dots": archive(description, entry("core/./values.schema.json", schema)),
        "behind two slashes": archive(description, entry("core//values.schema.json", schema)),
        "without a folder": archive(description, entry("/values.schema.json", schema)),
        "in a contiguous file": archive(description, entry("core/values.schema.json", schema, kind=tarfile.CONTTYPE)),
        "in a file of the old kind": archive(
            description, entry("core/values.schema.json", schema, kind=tarfile.AREGTYPE)
        ),
        "in a file of no kind": archive(description, entry("core/values.schema.json", schema, kind=b"Z")),
        "twice, the second time harmless": archive(
            description, entry("core/values.schema.json", schema), entry("core/values.schema.json", "{}")
        ),
        "twice, the first time harmless": archive(
            description, entry("core/values.schema.json", "{}"), entry("core/values.schema.json", schema)
        ),
        "after the end of the archive": stream(described) + stream(plain),
        "with a key written in escapes": chart({"values.schema.json": schema.replace("$ref", "\\u0024\\u0072ef")}),
        "with a key given twice": chart({"values.schema.json": f'{{"$ref": "#", "$ref": {json.dumps(elsewhere)}}}'}),
    }
