"""Files of a server of ours come over whole and unmixed, whatever happens on the way."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import random
from datetime import UTC, datetime

import pytest

from pilotage.migration.errors import Halt, Unreachable
from pilotage.migration.source import download as downloads
from pilotage.migration.source.download import FileServer, download, file_server, reach, use_server_uri
from pilotage.migration.source.signature import Keys, signed
from tests.support.files import Reply
from tests.support.files import file_server as serving

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
CONTENT = random.Random(1).randbytes(3_000_000)
OTHER = CONTENT[:1_000_000] + CONTENT[:1_000_000]
NAME = "2026 年/客户.csv"


@pytest.fixture
def files():
    with serving() as found:
        found.content[f"/erp/export/{NAME}"] = CONTENT
        yield found


class Fetcher:
    """Fetches one file, counting the seconds that it should have waited."""

    def __init__(self, folder, files) -> None:
        self.folder, self.files = folder, files
        self.waited: list[float] = []

    def fetch(self, name: str = NAME, *, limit: int | None = None, **server) -> bytes:
        server = FileServer(**{"url": self.files.url, "allowed": LOOPBACK, **server})
        download(server, "export", [name], self.folder, limit=limit, pause=self.waited.append)
        return (self.folder / name).read_bytes()

    def refusal(self, kind: type[Halt] = Halt, **options) -> Halt:
        with pytest.raises(kind) as halt:
            self.fetch(**options)
        return halt.value


@pytest.fixture
def fetcher(tmp_path, files) -> Fetcher:
    return Fetcher(tmp_path, files)


def cut(after: int):
    def fault(reply: Reply) -> None:
        reply.cut = after

    return fault


def with_headers(**headers: str):
    def fault(reply: Reply) -> None:
        reply.headers |= {name.replace("_", "-"): value for name, value in headers.items()}

    return fault


def test_a_file_comes_over_whole_in_one_request_whatever_its_name(fetcher):
    assert fetcher.fetch() == CONTENT
    assert fetcher.files.asked == [("/erp/export/2026%20%E5%B9%B4/%E5%AE%A2%E6%88%B7.csv", None)]


def test_a_download_that_is_cut_goes_on_where_it_was_cut(fetcher):
    fetcher.files.faults = {0: cut(1_000_000), 1: cut(1_500_000)}
    assert fetcher.fetch() == CONTENT
    assert [asked for _, asked in fetcher.files.asked] == [None, "bytes=1000000-", "bytes=2500000-"]


def test_tries_that_bring_it_further_are_never_too_many(fetcher):
    fetcher.files.always = cut(200_000)
    assert fetcher.fetch() == CONTENT
    assert len(fetcher.files.asked) == 15


def test_one_that_comes_no_further_is_given_up_with_how_far_it_came(fetcher):
    fetcher.files.faults = {0: cut(1_000_000)}
    fetcher.files.always = cut(0)
    halt = fetcher.refusal(Unreachable)
    assert (halt.reason, "1000000 of 3000000 bytes" in halt.message) == ("SourceUnreachable", True)
    # One that brought it further, five that did not.
    assert fetcher.waited == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_a_server_that_ignores_ranges_gives_the_whole_anew(fetcher):
    fetcher.files.ranges = False
    fetcher.files.faults = {0: cut(1_000_000)}
    assert fetcher.fetch() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_changed_between_two_requests_is_refused(fetcher, ranges):
    fetcher.files.ranges = ranges

    def change(reply: Reply) -> None:
        reply.cut = 1_000_000
        fetcher.files.content[f"/erp/export/{NAME}"] = OTHER

    fetcher.files.faults = {0: change}
    assert fetcher.refusal().reason == "SourceMoved"


def test_a_server_that_goes_on_with_another_file_although_it_was_asked_for_the_same_is_refused(fetcher):
    fetcher.files.faults = {0: cut(1_000_000), 1: with_headers(ETag='"another"')}
    assert fetcher.refusal().reason == "SourceMoved"


@pytest.mark.parametrize(
    "fault",
    [
        with_headers(Content_Range="bytes 0-2999999/3000000"),
        with_headers(Content_Range=""),
        with_headers(ETag=""),
        lambda reply: (setattr(reply, "status", 416), setattr(reply, "body", b"")),
    ],
    ids=["another range", "no range", "no word of the file's state", "not satisfiable"],
)
def test_a_rest_that_does_not_say_that_it_is_just_the_rest_is_thrown_away(fetcher, fault):
    fetcher.files.faults = {0: cut(1_000_000), 1: fault}
    assert fetcher.fetch() == CONTENT
    assert [asked for _, asked in fetcher.files.asked] == [None, "bytes=1000000-", None]


@pytest.mark.parametrize("etag", ["", 'W/"meaning"'])
def test_without_a_word_for_the_files_bytes_a_cut_download_begins_anew(fetcher, etag):
    fetcher.files.always = with_headers(ETag=etag)
    fetcher.files.faults = {0: lambda reply: (fetcher.files.always(reply), cut(1_000_000)(reply))}
    assert fetcher.fetch() == CONTENT
    assert [asked for _, asked in fetcher.files.asked] == [None, None]


def test_a_length_that_is_too_long_is_no_whole_file(fetcher):
    def longer(reply: Reply) -> None:
        reply.headers["Content-Length"] = str(len(reply.body) + 1)

    fetcher.files.always = longer
    assert fetcher.refusal(Unreachable).reason == "SourceUnreachable"


def test_a_file_whose_end_nobody_can_tell_is_refused(fetcher):
    fetcher.files.always = with_headers(Content_Length="")
    assert fetcher.refusal().reason == "SourceRefused"


def test_an_endless_file_is_refused_once_it_has_filled_its_room(fetcher):
    def endless(reply: Reply) -> None:
        reply.endless, reply.body = True, b""
        reply.headers["Transfer-Encoding"] = "chunked"

    fetcher.files.always = endless
    halt = fetcher.refusal(limit=4_000_000)
    assert (halt.reason, "raise the source's scratch" in halt.message) == ("SourceTooLarge", True)
    assert (fetcher.folder / NAME).stat().st_size <= 4_000_000


def test_a_file_that_says_it_is_too_large_is_refused_before_it_comes(fetcher):
    assert fetcher.refusal(limit=2_999_999).reason == "SourceTooLarge"
    assert (fetcher.folder / NAME).stat().st_size == 0
    assert fetcher.fetch(limit=3_000_000) == CONTENT


def test_several_files_share_the_room(fetcher, tmp_path):
    fetcher.files.content["/erp/a.csv"] = fetcher.files.content["/erp/b.csv"] = b"x" * 600
    server = FileServer(fetcher.files.url, allowed=LOOPBACK)
    with pytest.raises(Halt, match=r"b\.csv has 600 bytes or more, there is room for 400"):
        download(server, "", ["a.csv", "b.csv"], tmp_path, limit=1000)


def test_a_busy_server_is_asked_again_when_it_says(fetcher):
    fetcher.files.faults = {
        0: lambda reply: (setattr(reply, "status", 429), reply.headers.update({"Retry-After": "17"})),
        1: lambda reply: setattr(reply, "status", 503),
    }
    assert fetcher.fetch() == CONTENT
    assert fetcher.waited == [17.0, 2.0]


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "SourceForbidden"), (404, "SourceMissing"), (400, "SourceRefused")]
)
def test_a_refusal_is_no_reason_to_ask_again(fetcher, status, reason):
    fetcher.files.always = lambda reply: setattr(reply, "status", status)
    assert fetcher.refusal().reason == reason
    assert len(fetcher.files.asked) == 1


def test_what_the_server_gives_as_its_digest_must_be_that_of_the_file(fetcher):
    right = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    fetcher.files.always = with_headers(Repr_Digest=f"sha-256=:{right}:")
    assert fetcher.fetch() == CONTENT
    wrong = base64.b64encode(hashlib.sha256(OTHER).digest()).decode()
    fetcher.files.always = with_headers(Digest=f"SHA-256={wrong}")
    assert fetcher.refusal().reason == "SourceDamaged"


def test_bytes_that_the_server_packs_on_its_own_are_refused_and_files_that_are_gzip_are_not(fetcher):
    fetcher.files.always = with_headers(Content_Encoding="gzip")
    assert fetcher.refusal().reason == "SourceRefused"
    fetcher.files.content["/erp/export/a.csv.gz"] = b"packed"
    assert fetcher.fetch("a.csv.gz") == b"packed"


def leads_to(location: str):
    def fault(reply: Reply) -> None:
        reply.status, reply.headers["Location"] = 302, location

    return fault


def test_a_redirect_within_the_server_is_followed(fetcher):
    fetcher.files.content["/store/1.csv"] = b"moved"
    fetcher.files.faults = {0: leads_to("/store/1.csv")}
    assert fetcher.fetch() == b"moved"


@pytest.mark.parametrize(
    "location", ["http://localhost:1/x", "https://127.0.0.1/x", "//elsewhere/x", "ftp://127.0.0.1/x", "http://[", ""]
)
def test_a_redirect_to_another_server_is_refused_with_its_name(fetcher, location):
    fetcher.files.always = leads_to(location)
    halt = fetcher.refusal()
    assert (halt.reason, "leads elsewhere" in halt.message) == ("RedirectRefused", True)
    assert len(fetcher.files.asked) == 1


@pytest.mark.parametrize("name", ["../secret", "a/../../b"])
def test_no_name_leads_out_of_the_folder(fetcher, name):
    assert fetcher.refusal(name=name).reason == "SourceOutside"
    assert fetcher.files.asked == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "100.100.100.200"],
)
def test_addresses_of_this_machine_and_of_its_clouds_metadata_are_refused_unless_allowed(tmp_path, files, host):
    with pytest.raises(Halt) as halt:
        download(FileServer(f"http://{host}/erp"), "", ["a"], tmp_path)
    assert (halt.value.reason, "allowedAddresses" in halt.value.message) == ("AddressRefused", True)


def test_a_password_is_sent_over_tls_alone_and_shows_nowhere(tmp_path, fetcher):
    halt = fetcher.refusal(user="erp", password="geheim")
    assert (halt.reason, "geheim" in halt.message) == ("ConnectionInvalid", False)
    with serving(tmp_path) as files:
        files.content["/erp/export/a.csv"] = b"x"
        secure = Fetcher(tmp_path, files)
        halt = secure.refusal(name="a.csv")
        assert halt.reason == "SourceUntrusted"
        files.authorization = "Basic " + base64.b64encode("财务:geheim".encode()).decode()
        assert secure.fetch("a.csv", ca=files.ca, user="财务", password="geheim") == b"x"
        assert secure.refusal(name="a.csv", ca=files.ca, token="t").reason == "SourceForbidden"
        files.authorization = "Bearer t"
        assert secure.fetch("a.csv", ca=files.ca, token="t") == b"x"
        assert "geheim" not in repr(FileServer(files.url, user="erp", password="geheim"))
        assert reach(FileServer(files.url, token="t", ca=files.ca, allowed=LOOPBACK)) == "127.0.0.1 answers 404"
        with pytest.raises(Halt, match="does not take"):
            reach(FileServer(files.url, token="u", ca=files.ca, allowed=LOOPBACK))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://host/x",
        "https://",
        "https://host/x?sig=1",
        "https://host:99999/",
        "https://host/a b",
        "https://[",
        "https://a..b",
    ],
)
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(Halt, match="no https://HOST/FOLDER"):
        FileServer(url)


def test_a_uri_of_the_command_line_and_a_secret_of_the_cluster_tell_the_same(monkeypatch):
    for variable in downloads._VARIABLES.values():
        monkeypatch.setenv(variable, "")
    use_server_uri("https://erp:p%40ss@files.example/export")
    told = file_server()
    assert (told.url, told.user, told.password) == ("https://files.example/export", "erp", "p@ss")
    given = {"SOURCE_TYPE": "http", "SOURCE_URL": "https://files.example/export\n", "SOURCE_USER": "erp\n"}
    assert file_server({**given, "SOURCE_PASSWORD": "p@ss\n"}) == told
    allowed = file_server({**given, "PILOTAGE_SOURCE_ADDRESSES": "127.0.0.0/8,::1"}).allowed
    assert list(map(str, allowed)) == ["127.0.0.0/8", "::1/128"]


def test_the_variables_of_a_database_are_no_server():
    with pytest.raises(Halt, match="--connection NAME=https"):
        file_server({"SOURCE_TYPE": "mysql"})


KEYS = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")


def test_a_request_is_signed_as_the_documentation_of_s3_has_it():
    headers = {"Host": "examplebucket.s3.amazonaws.com", "Range": "bytes=0-9", "If-Range": "unsigned"}
    found = signed(headers, "/test.txt", KEYS, datetime(2013, 5, 24, tzinfo=UTC))["Authorization"]
    assert found == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )
    assert "wJalr" not in repr(KEYS)


def test_a_store_gets_every_request_signed_as_it_is_sent_and_its_secret_never(fetcher):
    fetcher.files.faults = {0: cut(1_000_000)}
    assert fetcher.fetch(user=KEYS.access, password=KEYS.secret, region=KEYS.region) == CONTENT
    for (path, asked), sent in zip(fetcher.files.asked, fetcher.files.sent, strict=True):
        moment = datetime.strptime(sent["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        given = {"Host": fetcher.files.host, **({"Range": asked} if asked else {})}
        assert sent["Authorization"] == signed(given, path, KEYS, moment)["Authorization"]
        assert KEYS.secret not in str(sent)


def test_a_store_is_told_by_a_uri_or_a_secret(monkeypatch):
    for variable in downloads._VARIABLES.values():
        monkeypatch.setenv(variable, "")
    use_server_uri("s3+http://key:se%2Fcret@store:9000/bucket")
    told = file_server()
    assert (told.url, told.user, told.password, told.region) == (
        "http://store:9000/bucket",
        "key",
        "se/cret",
        "us-east-1",
    )
    use_server_uri("s3://key:secret@store/bucket")
    monkeypatch.setenv("SOURCE_REGION", "cn-hangzhou\n")
    assert (file_server().url, file_server().region) == ("https://store/bucket", "cn-hangzhou")
