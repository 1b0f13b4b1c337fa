"""What a run has loaded, sent on to a Bulk API 2.0 of ours: every row once, whatever is lost on the way."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading

import psycopg
import pytest

from pilotage.migration import bulk
from pilotage.migration.bulk import BulkApi
from pilotage.migration.errors import BudgetExceeded, Halt, Rejected, Unreachable
from pilotage.migration.push import Destination, push
from tests.migration.conftest import kill
from tests.migration.world import World, row
from tests.support.bulk import AFTER, BEFORE, ENDLESS, FAILING, TOKEN, bulk_server

pytestmark = pytest.mark.postgresql

COLUMNS = {"code": "Legacy_Id__c", "name": "Name", "balance": "Balance__c", "active": "Active__c", "since": "Since__c"}
ROWS, BATCH_ROWS = 10, 4


@pytest.fixture
def api():
    with bulk_server() as server:
        yield server


@pytest.fixture
def loaded(server, tmp_path) -> World:
    world = World(server, tmp_path)
    load(world, [row(n) for n in range(ROWS)])
    return world


def load(world: World, rows: list[list[str]]) -> None:
    world.write(rows)
    assert world.call("run")[0] == 0


class Sender:
    """Pushes the customers of a world, counting instead of waiting."""

    def __init__(self, world: World, api) -> None:
        self.world, self.api = world, api
        self.waited: list[float] = []

    def push(self, **changes):
        options = {"batch_rows": BATCH_ROWS, "folder": self.world.folder / "push", "pause": lambda _seconds: None}
        destination = Destination(self.api.url, "Account", "Legacy_Id__c", changes.pop("columns", COLUMNS))
        client = BulkApi(changes.pop("url", self.api.url), changes.pop("token", TOKEN), pause=self.waited.append)
        settings = self.world.server.environment(self.world.database)
        with psycopg.connect(
            host=settings["PGHOST"],
            port=settings["PGPORT"],
            user=settings["PGUSER"],
            dbname=settings["PGDATABASE"],
            autocommit=True,
        ) as connection:
            return push(connection, client, self.world.run, "customers", destination, **{**options, **changes})

    def file(self, kind: str) -> list[list[str]]:
        with (self.world.folder / "push" / f"customers.{kind}.csv").open(encoding="utf-8-sig", newline="") as file:
            return list(csv.reader(file))


@pytest.fixture
def sender(loaded, api) -> Sender:
    return Sender(loaded, api)


def assert_all_there_once(sender: Sender, rows: int = ROWS) -> None:
    there = {key: (fields["Name"], fields["Balance__c"]) for key, (_, fields) in sender.api.records.items()}
    assert there == {f"K{n:05}": (f"华升客户{n}有限公司", f"{n}.50") for n in range(rows)}
    assert sender.api.changes == rows


def test_every_loaded_row_arrives_with_its_values_and_is_listed_with_the_id_that_the_api_gave(sender):
    answer = sender.push()
    assert (answer["rows"], answer["created"], answer["updated"]) == (ROWS, ROWS, 0)
    assert answer["guarantee"] == "UpsertByExternalId"
    assert_all_there_once(sender)
    assert sender.api.records["K00003"][1] == {
        "Legacy_Id__c": "K00003",
        "Name": "华升客户3有限公司",
        "Balance__c": "3.50",
        "Active__c": "true",
        "Since__c": "2024-05-31",
    }
    listed = sender.file("success")
    assert listed[0] == ["ID", *COLUMNS.values(), "STATUS"]
    assert {(line[0], line[1]) for line in listed[1:]} == {(key, code) for code, (key, _) in sender.api.records.items()}
    assert {line[-1] for line in listed[1:]} == {"Item Created"}
    assert [job["operation"] for job in sender.api.jobs.values()] == ["upsert"] * 3


def test_a_second_push_sends_nothing_and_says_the_same(sender):
    first = sender.push()
    asked = len(sender.api.asked)
    assert sender.push() == first
    assert len(sender.api.asked) == asked


def test_pushing_again_sends_the_rows_as_the_table_has_them_now(sender):
    sender.push()
    sender.world.query("update party set balance = 77 where code = 'K00004'")
    answer = sender.push(again=True)
    assert (answer["created"], answer["updated"]) == (0, ROWS)
    assert sender.api.records["K00004"][1]["Balance__c"] == "77.00"
    assert sender.api.changes == ROWS + 1


def test_pushing_again_lets_the_jobs_of_an_interrupted_push_end_before_newer_rows_follow(sender):
    polls = [number for number, (method, _) in enumerate(_asked_by_a_push(sender)) if method == "GET"]
    sender.api.faults = dict.fromkeys(range(polls[0], polls[0] + bulk.ATTEMPTS), BEFORE)
    with pytest.raises(Unreachable):
        sender.push()
    sender.world.query("update party set balance = 77 where code = 'K00001'")
    sender.push(again=True)
    sender.api.finish_jobs()
    assert sender.api.records["K00001"][1]["Balance__c"] == "77.00"


def test_a_value_with_line_ends_and_quotes_stays_one_value(sender):
    sender.world.query("update party set name = E'a\\rb' where code = 'K00004'")
    sender.world.query("update party set name = E'a\\nb\\r\\nc\"d,e' where code = 'K00005'")
    assert sender.push()["rows"] == ROWS
    names = ["a\rb", 'a\nb\r\nc"d,e']
    assert [sender.api.records[code][1]["Name"] for code in ("K00004", "K00005")] == names
    assert set(names) < {line[2] for line in sender.file("success")}


def test_rows_that_the_api_refuses_are_listed_with_its_words_made_safe_to_open_and_the_others_arrive(
    server, tmp_path, api
):
    world = World(server, tmp_path)
    load(world, [row(0), row(1, KHMC="坏客户"), row(2)])
    sender = Sender(world, api)
    with pytest.raises(BudgetExceeded, match="refused 1 of 3 rows"):
        sender.push()
    assert set(api.records) == {"K00000", "K00002"}
    (header, line) = sender.file("error")
    assert header == ["ID", *COLUMNS.values(), "ERROR"]
    assert line == ["", "K00001", "坏客户", "1.50", "true", "2024-05-31", "'=名称不合规:Name --"]
    world.query("update party set name = '好客户' where code = 'K00001'")
    assert sender.push(again=True)["rows"] == 3
    assert sender.file("error") == [header]


def test_an_answer_lost_at_any_request_changes_nothing(sender):
    requests = _requests_of_a_push(sender)
    for fault in (BEFORE, AFTER, FAILING, (500, b"oops")):
        for number in range(requests):
            with bulk_server() as api:
                api.faults = {number: fault}
                other = Sender(sender.world, api)
                assert other.push()["rows"] == ROWS, (fault, number)
                assert_all_there_once(other)


def test_a_worker_killed_at_any_request_is_followed_by_one_that_sends_every_row_once(sender):
    for number in range(_requests_of_a_push(sender, batch_rows=ROWS)):
        with bulk_server() as api:
            other = Sender(sender.world, api)
            assert killed_at(other, number) == -9, number
            assert other.push(batch_rows=ROWS)["rows"] == ROWS
            assert_all_there_once(other)
            assert [job["state"] for job in api.jobs.values()].count("JobComplete") == 1, number


def test_the_command_line_pushes_and_answers_with_counts_and_files(loaded, api):
    process = _command(loaded, api)
    output = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 0, output
    answer = json.loads(output)
    assert (answer["outcome"], answer["rows"]) == ("Pushed", ROWS)
    assert [(loaded.folder / path).exists() for path in answer["files"]] == [True, True]
    assert_all_there_once(Sender(loaded, api))
    assert TOKEN not in output


def killed_at(sender: Sender, number: int) -> int:
    """Push by a process of its own that is killed when the API has heard this request; its exit code."""
    held: list[subprocess.Popen] = []
    started = threading.Event()

    def strike() -> None:
        assert started.wait(60)
        kill(held[0])

    sender.api.faults = {number: strike}
    held.append(_command(sender.world, sender.api))
    started.set()
    held[0].communicate(timeout=60)
    return held[0].returncode


def _command(world: World, api):
    columns = [word for column, name in COLUMNS.items() for word in ("--column", f"{column}={name}")]
    where = ("--url", api.url, "--to", "Account", "--external-id", "Legacy_Id__c", "--object", "customers")
    return subprocess.Popen(
        [sys.executable, "-m", "pilotage.migration", "push", "--run-id", world.run, *where, *columns],
        cwd=world.folder,
        env={"PATH": os.environ["PATH"], "PILOTAGE_TOKEN": TOKEN, **world.server.environment(world.database)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _requests_of_a_push(sender: Sender, **options) -> int:
    return len(_asked_by_a_push(sender, **options))


def _asked_by_a_push(sender: Sender, **options) -> list[tuple[str, str]]:
    """The requests of an undisturbed push to a server of its own."""
    with bulk_server() as api:
        Sender(sender.world, api).push(**options)
        return api.asked


@pytest.mark.parametrize("ending", ["Failed", "Aborted"])
def test_a_job_that_ends_half_way_is_done_again_without_changing_what_had_arrived(sender, ending):
    sender.api.ending = [ending, ending]
    assert sender.push()["rows"] == ROWS
    assert_all_there_once(sender)


def test_a_batch_whose_jobs_all_fail_is_given_up_in_the_words_of_the_api_and_taken_up_later(sender):
    sender.api.ending = ["Failed"] * 3
    with pytest.raises(Halt, match="InternalServerError : half way"):
        sender.push()
    assert sender.push()["rows"] == ROWS
    assert_all_there_once(sender)


def test_the_api_s_wish_to_be_left_alone_is_granted(sender):
    sender.api.faults = {0: (429, b"", {"Retry-After": "7"}), 1: (503, b"", {"Retry-After": "99999"})}
    sender.push()
    assert sender.waited == [7.0, 300.0]
    assert_all_there_once(sender)


def test_an_api_that_stays_away_ends_the_attempt_and_not_the_push(sender):
    sender.api.faults = dict.fromkeys(range(50), BEFORE)
    with pytest.raises(Unreachable, match="run the same again"):
        sender.push()
    sender.api.faults = {}
    sender.push()
    assert_all_there_once(sender)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ((302, b"", {"Location": "http://elsewhere.example/"}), "RedirectRefused"),
        ((200, b"<html>"), "AnswerUnusable"),
        ((200, b"[" * 100_000), "AnswerUnusable"),
        ((200, b'{"id": "../../x", "state": "Open"}'), "AnswerUnusable"),
        ((200, b'{"id": "750x", "state": "Open"}' + b" " * (1 << 21)), "AnswerUnusable"),
        ((403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests"}]), "ApiLimitReached"),
    ],
)
def test_a_hostile_answer_stops_the_push_and_sends_no_row(sender, fault, reason):
    sender.api.faults = {0: fault}
    with pytest.raises(Halt) as stopped:
        sender.push()
    assert stopped.value.reason == reason
    assert len(sender.api.asked) == 1


def test_an_answer_about_another_job_is_not_taken_for_this_one_s(sender):
    sender.api.faults = {2: (200, {"id": "750Another", "state": "UploadComplete"})}
    with pytest.raises(Halt, match="describes job 750Another"):
        sender.push()
    sender.push()
    assert_all_there_once(sender)


def test_an_api_that_never_ends_its_headers_is_hung_up_on(sender, monkeypatch):
    monkeypatch.setattr(bulk, "ANSWER_SECONDS", 0.2)
    sender.api.faults = {0: ENDLESS}
    sender.push()
    assert sender.waited == [1.0]
    assert_all_there_once(sender)


@pytest.mark.parametrize(
    "altered",
    [
        lambda content: content.replace(b"K00002", b"K99999"),
        lambda content: content + content.splitlines(keepends=True)[-1],
        lambda content: content.splitlines(keepends=True)[0],
        lambda _content: b"\xff\xfe\x00",
    ],
)
def test_results_that_are_not_those_of_the_rows_sent_are_not_believed(sender, altered):
    sender.api.results = lambda kind, content: altered(content) if kind == "successfulResults" else content
    with pytest.raises(Halt) as stopped:
        sender.push()
    assert stopped.value.reason == "AnswerUnusable"
    sender.api.results = lambda _kind, content: content
    assert sender.push()["rows"] == ROWS
    assert_all_there_once(sender)


def test_no_message_repeats_the_token_even_where_the_api_does(sender):
    with pytest.raises(Halt) as stopped:
        sender.push(token="secret-of-ours")
    assert stopped.value.reason == "ApiForbidden"
    assert "INVALID_SESSION_ID" in stopped.value.message
    assert "secret-of-ours" not in stopped.value.message


@pytest.mark.parametrize(
    "url",
    [
        "http://crm.example/services/data/v62.0",
        "https://me:pw@crm.example/x",
        "ftp://crm.example",
        "https://",
        "https://crm.example:99999/x",
        "https://[crm.example",
        "https://crm.example/services data",
    ],
)
def test_a_token_goes_only_over_https_or_loopback(url):
    with pytest.raises(Halt) as stopped:
        BulkApi(url, TOKEN)
    assert stopped.value.reason == "ApiUrlInvalid"


def test_an_external_id_that_two_rows_share_is_refused_before_anything_is_sent(sender):
    for code, name in (("K00001", "同名"), ("K00002", "别名"), ("K00003", "同名")):
        sender.world.query(f"update party set name = '{name}' where code = '{code}'")
    with pytest.raises(Halt) as stopped:
        sender.push(columns={"name": "Legacy_Id__c"})
    assert stopped.value.reason == "ExternalIdNotUnique"
    assert sender.api.asked == []


def test_a_loaded_row_that_is_no_longer_there_is_noticed_before_anything_is_sent(sender):
    sender.world.query("delete from party where code = 'K00007'")
    with pytest.raises(Rejected, match="10 rows in party, but 9 of them"):
        sender.push()
    assert sender.api.asked == []


def test_an_empty_value_is_sent_as_the_api_s_null_and_its_text_is_refused(sender):
    sender.world.query("update party set since = null, name = '' where code = 'K00001'")
    sender.push()
    sent = sender.api.records["K00001"][1]
    assert (sent["Since__c"], sent["Name"]) == ("#N/A", "#N/A")
    sender.world.query("update party set name = '#N/A' where code = 'K00001'")
    with pytest.raises(Halt) as stopped:
        sender.push(again=True)
    assert stopped.value.reason == "ValueUnsendable"


def test_two_processes_do_not_push_to_one_destination(sender):
    blocked: list[Halt] = []

    def meet() -> None:
        try:
            sender.push()
        except Halt as halt:
            blocked.append(halt)

    sender.api.faults = {2: meet}
    sender.push()
    assert [halt.reason for halt in blocked] == ["PushUnderWay"]
    assert_all_there_once(sender)
