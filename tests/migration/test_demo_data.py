"""The demo's own files and mappings: every planted defect is found, and nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from e2e.data.export import make_export, planted, write_export
from tests.migration.world import World

pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(300)]
MANIFESTS = Path(__file__).parents[2] / "e2e/demo/manifests/migrationjobs.yaml"
COMMON = "create_uid int, create_date timestamp(6), active boolean"
# Tryton 8.2's tables, as far as the mappings fill them.
TABLES = f"""
create table party_party (id serial primary key, code varchar, code_alnum varchar, name varchar, {COMMON});
create table product_uom (id serial primary key, symbol varchar);
insert into product_uom (symbol) values ('u'), ('kg'), ('m'), ('l');
create table product_template (id serial primary key, code varchar, name varchar not null, type varchar not null,
  default_uom int not null references product_uom, purchase_uom int, sale_uom int, consumable boolean,
  purchasable boolean, salable boolean, {COMMON});
create table product_product (id serial primary key, code varchar, template int not null references product_template,
  description text, {COMMON});
create table purchase_product_supplier (id serial primary key, code varchar, template int references product_template,
  party int not null references party_party, company int not null, currency int not null, {COMMON});
create table purchase_product_supplier_price (id serial primary key,
  product_supplier int not null references purchase_product_supplier, quantity float8 not null,
  unit_price numeric not null, create_uid int, create_date timestamp(6));
"""


def test_the_demo_s_loads_count_exactly_what_is_planted(server, tmp_path):
    world = World(server, tmp_path)
    world.query(TABLES)
    export = make_export(4000)
    write_export(export, tmp_path)
    truth = planted(export)
    for manifest in yaml.safe_load_all(MANIFESTS.read_text(encoding="utf-8")):
        world.spec, world.run = manifest["spec"], manifest["metadata"]["name"]
        world.spec["errorBudget"] = {"rows": 1000}
        code, answer = world.call("run", "--chunk-rows", "500")
        assert code == 0, answer
        for counts in answer["objects"]:
            expected = truth["expected"][counts["name"]]
            wanted = {name: expected[name] for name in ("read", "loaded", "kept", "duplicates", "quarantined")}
            assert {name: counts[name] for name in wanted} == wanted, counts["name"]
            assert counts["balanced"]
            codes = world.query(
                f"select code from mig.quarantine where run_id = '{world.run}' and object = '{counts['name']}'"
            )
            found = Counter(code for (code,) in codes)
            assert found == {name: rows for name, rows in expected["quarantinedByCode"].items() if rows}
    total = world.query("select sum(unit_price)::text from purchase_product_supplier_price")
    assert float(total[0][0]) == pytest.approx(float(truth["controlTotals"]["supply-prices.unit_price"]))
    for sample in truth["samples"]:
        assert world.query(f"select name from party_party where code = '{sample['code']}'") == [(sample["name"],)]
