"""Activate Tryton modules in a database and carry the customer's configuration into them. Safe to repeat."""

import subprocess
import time
from typing import Any

import psycopg
from trytond.pool import Pool  # type: ignore[import-not-found]
from trytond.transaction import Transaction, TransactionError  # type: ignore[import-not-found]

from .accounts import write_accounts
from .organisation import write_organisation

ADMINISTRATOR_EMAIL = "erp@localhost"


def activate(settings: dict[str, Any]) -> None:
    """Initialise the database if it is empty, activate what is not active yet, then write the configuration.

    The first administrator's password is read from the file that TRYTONPASSFILE names.
    """
    database = settings["database"]
    states = module_states(database) or {}
    if not administrator_is_there(database):
        # An initialisation that was interrupted has its modules, but nobody who could log in: it is begun anew.
        say("initialising the database")
        account = ("--email", ADMINISTRATOR_EMAIL, "--password", "--administrator")
        run_admin("--database", database, "--all", *account)
        states = module_states(database) or {}
    elif not set(settings["modules"]) <= set(states):
        # An image of a newer release knows modules that the database has never heard of.
        run_admin("--database", database, "--update-modules-list")
    wanted = [module for module in settings["modules"] if states.get(module) != "activated"]
    if wanted:
        say(f"activating {', '.join(wanted)}")
        run_admin("--database", database, "--update", *wanted, "--activate-dependencies")
    configure(settings)
    say("done")


def configure(settings: dict[str, Any]) -> None:
    """Write organisation and accounting, each if the settings have it, in one transaction."""
    database = settings["database"]
    Pool.start()
    pool = Pool(database)
    pool.init()
    needs: dict[str, Any] = {}
    while True:
        with Transaction().start(database, 0, context={"active_test": False}, **needs) as transaction:
            try:
                write_configuration(pool, settings)
            except TransactionError as error:
                # Tryton takes table locks only at a transaction's start: it says which, and begins anew.
                transaction.rollback()
                error.fix(needs)
                continue
            return


def write_configuration(pool: Any, settings: dict[str, Any]) -> None:
    (administrator,) = pool.get("res.user").search([("login", "=", "admin")])
    if settings.get("organisation"):
        say("writing the organisation")
        write_organisation(pool, administrator, settings["organisation"])
    if settings.get("accounting"):
        say("writing the chart of accounts")
        write_accounts(pool, settings["accounting"])


def wait_until_activated(database: str, modules: list[str]) -> None:
    """Return when all modules are active; whoever starts this decides how long it may take."""
    said = ""
    while True:
        try:
            states = module_states(database) or {}
        except psycopg.OperationalError:
            states = {}
        missing = [module for module in modules if states.get(module) != "activated"]
        if not missing:
            return
        news = f"waiting for the activation of {', '.join(missing)}"
        if news != said:
            say(news)
            said = news
        time.sleep(2)


def module_states(database: str) -> dict[str, str] | None:
    """State of each module that the database knows; None where there is no Tryton in it yet."""
    try:
        with psycopg.connect(dbname=database, connect_timeout=5) as connection:
            return dict(connection.execute("SELECT name, state FROM ir_module").fetchall())
    except psycopg.errors.UndefinedTable:
        return None


def administrator_is_there(database: str) -> bool:
    query = "SELECT count(*) FROM res_user WHERE login = 'admin' AND password_hash IS NOT NULL"
    try:
        with psycopg.connect(dbname=database, connect_timeout=5) as connection:
            return connection.execute(query).fetchone() == (1,)
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        return False


def run_admin(*arguments: str) -> None:
    subprocess.run(["trytond-admin", *arguments], check=True)


def say(text: str) -> None:
    print(text, flush=True)
