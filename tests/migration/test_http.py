"""Files of a server are fetched by the planner alone, and loaded as files of a folder are."""

from __future__ import annotations

import hashlib
import threading

import pytest

from tests.migration.conftest import kill, wait_for
from tests.migration.test_laptop import Laptop
from tests.migration.world import World, contacts_object, customers_object, row
from tests.support.files import Reply
from tests.support.files import file_server as serving

pytestmark = pytest.mark.postgresql

ALLOWED = {"PILOTAGE_SOURCE_ADDRESSES": "127.0.0.1/32"}
CUSTOMERS = [*(row(number) for number in range(200)), row(999, YE="许多")]
CONTACTS = [[f"13{number:05}", f"K{number:05}"] for number in range(100)]


@pytest.fixture
def files():
    with serving() as found:
        yield found


@pytest.fixture
def world(server, tmp_path, files) -> World:
    """A world whose files are on the server and nowhere else."""
    found = World(server, tmp_path)
    found.spec["objects"] = [customers_object(), contacts_object()]
    found.spec["source"] = {"http": {"connection": "files", "path": "2026/11"}, "encoding": "GB18030"}
    files.content["/erp/2026/11/客户.csv"] = found.write(CUSTOMERS)
    files.content["/erp/2026/11/联系人.csv"] = found.write(CONTACTS, "联系人.csv", header=["HM", "KHBM"])
    for name in ("客户.csv", "联系人.csv"):
        (tmp_path / name).unlink()
    return found


def variables(files, **changes: str) -> dict[str, str]:
    """What the operator sets in the planner's pod."""
    return {"SOURCE_TYPE": "http", "SOURCE_URL": files.url, **ALLOWED, **changes}


@pytest.fixture
def undisturbed(server, tmp_path_factory):
    found = World(server, tmp_path_factory.mktemp("undisturbed"))
    found.spec["objects"] = [customers_object(), contacts_object()]
    found.write(CUSTOMERS)
    found.write(CONTACTS, "联系人.csv", header=["HM", "KHBM"])
    assert found.call("run", "--chunk-rows", "40")[0] == 0
    return found.target()


def test_workers_without_the_server_load_what_the_planner_fetched(world, files, undisturbed):
    assert world.call("plan", "--chunk-rows", "40", environment=variables(files))[0] == 0
    digests = [hashlib.sha256(content).hexdigest() for content in files.content.values()]
    files.content.clear()
    assert world.call("work")[0] == 0
    assert world.query("select jsonb_path_query_array(certificate, '$.sources[*].sha256') from mig.run") == [(digests,)]
    assert world.target() == undisturbed
    assert world.query("select count(*) from mig.part") == [(0,)]


def test_a_planner_that_is_killed_amid_a_download_leaves_nothing_and_the_next_one_plans(
    world, files, undisturbed, tmp_path
):
    held, done = threading.Event(), threading.Event()

    def hold(reply: Reply) -> None:
        held.set()
        done.wait(60)

    files.faults = {1: hold}
    planner = world.start("plan", environment=variables(files, TMPDIR=str(tmp_path)))
    assert held.wait(60)
    kill(planner)
    done.set()
    assert world.query("select count(*) from mig.run") == [(0,)]
    assert world.call("plan", "--chunk-rows", "40", environment=variables(files))[0] == 0
    assert world.call("work")[0] == 0
    assert world.target() == undisturbed


def test_killed_workers_of_fetched_files_change_nothing(world, files, undisturbed):
    assert world.call("plan", "--chunk-rows", "40", environment=variables(files))[0] == 0
    worker = world.start("work", "--lease", "1.5")
    wait_for(lambda: world.query("select 1 from mig.chunk where state = 'done'"), "no chunk was done")
    kill(worker)
    assert world.call("work", "--lease", "1.5")[0] == 0
    assert world.target() == undisturbed


def test_what_the_planner_fetched_is_gone_when_it_has_planned(world, files, tmp_path):
    (tmp_path / "scratch").mkdir()
    assert world.call("plan", environment=variables(files, TMPDIR=str(tmp_path / "scratch")))[0] == 0
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_file_that_changed_after_the_plan_is_another_attempts(world, files):
    assert world.call("plan", environment=variables(files))[0] == 0
    files.content["/erp/2026/11/客户.csv"] = b"".join(files.content["/erp/2026/11/客户.csv"].splitlines(True)[:100])
    code, answer = world.call("plan", environment=variables(files))
    assert (code, answer["reason"]) == (42, "SourceMoved")
    assert world.call("plan", "--attempt", "again", environment=variables(files))[0] == 0


def test_files_that_have_no_room_are_refused_and_how_much_they_need_is_said(world, files):
    code, answer = world.call("plan", environment=variables(files, SOURCE_LIMIT="1000"))
    assert (code, answer["reason"], "raise the source's scratch" in answer["message"]) == (42, "SourceTooLarge", True)


@pytest.fixture
def laptop(world) -> Laptop:
    return Laptop(world, ALLOWED)


def test_one_command_on_a_laptop_fetches_loads_certifies_and_takes_repairs_back(laptop, world, files):
    manifest, given = laptop.manifest(), ("--connection", f"files={files.url}")
    code, answer = laptop.answer("run", manifest, *given)
    assert (code, answer["counts"]["loaded"], answer["counts"]["quarantined"]) == (0, 300, 1), answer
    assert laptop.answer("quarantine", "export", manifest, "--output", "q", *given)[0] == 0
    text = (world.folder / "q/customers.quarantine.csv").read_text(encoding="gb18030")
    (world.folder / "q/fixed.csv").write_text(text.replace("许多", "1.50", 1), encoding="gb18030", newline="")
    replay = ("quarantine", "replay", manifest, "--object", "customers", "--fixed", "q/fixed.csv", *given)
    code, answer = laptop.answer(*replay)
    assert (code, answer["counts"]["loaded"]) == (0, 1), answer
    assert world.query("select balance::text from party where code = 'K00999'") == [("1.50",)]


def test_a_store_is_read_as_a_server_is(world, files, undisturbed):
    world.spec["source"] = {"s3": {"connection": "store", "path": "2026/11"}, "encoding": "GB18030"}
    keys = {"SOURCE_TYPE": "s3", "SOURCE_USER": "key", "SOURCE_PASSWORD": "secret"}
    assert world.call("plan", "--chunk-rows", "40", environment=variables(files, **keys))[0] == 0
    assert all(sent["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=key/") for sent in files.sent)
    assert world.call("work")[0] == 0
    assert world.target() == undisturbed


def test_the_address_of_this_machine_is_refused_where_nobody_allowed_it(world, files):
    code, answer = world.call("plan", environment=variables(files, PILOTAGE_SOURCE_ADDRESSES=""))
    assert (code, answer["reason"]) == (42, "AddressRefused")


def test_the_preflight_asks_the_server(world, files):
    question = {"PILOTAGE_PROBE": '{"connect": true, "type": "http"}'}
    assert world.call("probe", environment={**variables(files), **question})[1]["results"] == [
        {"name": "connect", "value": "127.0.0.1 answers 404", "error": None}
    ]
    files.authorization = "Bearer t"
    [answer] = world.call("probe", environment={**variables(files), **question})[1]["results"]
    assert "does not take user, password or token" in answer["error"]
