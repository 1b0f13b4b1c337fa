"""Windows: deny wins, an evening stays an evening, and the next opening is the first that is really open."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pilotage.api.v1alpha1.schedule import Window
from pilotage.plan.facts import ImplementationFacts
from pilotage.plan.health import Health
from pilotage.plan.implementation import decide
from pilotage.plan.windows import HORIZON, Opening, WindowError, opening
from tests.support.builders import NOW, a_migration, a_module, an_implementation, facts, running
from tests.unit.plan.test_gates import settled, states

SHANGHAI, BERLIN = "Asia/Shanghai", "Europe/Berlin"


def a_window(kind: str = "Allow", name: str = "w", **fields: Any) -> Window:
    return Window.model_validate({"name": name, "kind": kind, **fields})


def weekly(days: str, hour: int = 20, duration: str = "10h", kind: str = "Allow", **fields: Any) -> Window:
    return a_window(kind, rrule=f"FREQ=WEEKLY;BYDAY={days};BYHOUR={hour}", duration=duration, **fields)


def at(text: str, zone: str = SHANGHAI) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def seen(*windows: Window, now: datetime, wave: int = 1, zone: str = SHANGHAI) -> Opening:
    return opening(windows, wave, now, zone)


def test_without_windows_every_moment_is_open():
    assert seen(now=at("2026-12-01T03:00")) == Opening(is_open=True)


def test_with_an_allow_window_nothing_else_is_open():
    friday = weekly("FR")
    assert not seen(friday, now=at("2026-12-04T19:59")).is_open
    found = seen(friday, now=at("2026-12-04T20:00"))
    assert found.is_open
    assert found.changes_at == at("2026-12-05T06:00")
    assert not seen(friday, now=at("2026-12-05T06:00")).is_open


def test_deny_wins_over_allow_and_the_message_says_until_when_and_what_opens_next():
    closed = {"start": "2026-12-28T00:00:00+08:00", "end": "2027-01-04T00:00:00+08:00"}
    year_end = a_window("Deny", "year-end", **closed)
    found = seen(weekly("FR", name="friday"), year_end, now=at("2027-01-01T21:00"))
    assert not found.is_open
    assert found.changes_at == at("2027-01-08T20:00")
    assert found.message == (
        "window year-end forbids it until 2027-01-04 00:00 Asia/Shanghai; "
        "it may go live from 2027-01-08 20:00 Asia/Shanghai (window friday)"
    )


def test_month_end_is_denied_in_short_and_long_months():
    close = a_window("Deny", rrule="FREQ=MONTHLY;BYMONTHDAY=-2,-1,1,2", duration="24h")
    shut = [day for day in range(1, 29) if not seen(close, now=at(f"2027-02-{day:02}T12:00")).is_open]
    assert shut == [1, 2, 27, 28]
    assert not seen(close, now=at("2028-02-29T12:00")).is_open
    assert seen(close, now=at("2028-02-27T12:00")).is_open


def test_an_evening_stays_an_evening_over_daylight_saving():
    evening = a_window(rrule="FREQ=DAILY;BYHOUR=20", duration="2h", timezone=BERLIN)
    for day in ("2026-03-28", "2026-03-29", "2026-10-24", "2026-10-25"):
        assert seen(evening, now=at(f"{day}T20:00", BERLIN)).is_open
        assert not seen(evening, now=at(f"{day}T19:59", BERLIN)).is_open


def test_a_window_is_for_its_waves_only():
    second = weekly("FR", waves=[2])
    assert seen(second, now=at("2026-12-01T12:00"), wave=1).is_open
    assert not seen(second, now=at("2026-12-01T12:00"), wave=2).is_open


def test_every_second_week_counts_from_its_start():
    fields = {"start": "2026-11-27T00:00:00+08:00"}
    window = a_window(rrule="FREQ=WEEKLY;INTERVAL=2;BYDAY=FR;BYHOUR=20", duration="4h", **fields)
    fridays = ["2026-11-27", "2026-12-04", "2026-12-11", "2026-12-18"]
    assert [seen(window, now=at(f"{day}T21:00")).is_open for day in fridays] == [True, False, True, False]


def test_when_nothing_opens_any_more_somebody_is_told_to_change_it():
    past = a_window(start="2026-01-01T00:00:00Z", end="2026-01-02T00:00:00Z")
    found = seen(past, now=at("2026-12-01T12:00"))
    assert found.changes_at is None
    assert "none opens within 400 days: change spec.schedule.windows" in found.message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rrule": "FREQ=WEEKLY;BYDAY=XX", "duration": "1h"}, r"windows\[w\].rrule"),
        ({"rrule": "FREQ=DAILY;BYHOUR=25", "duration": "1h"}, r"windows\[w\].rrule"),
        ({"rrule": "FREQ=DAILY", "duration": "1h", "timezone": "Asia/Shangri-La"}, "is no time zone"),
    ],
)
def test_a_window_that_cannot_be_understood_names_its_field(fields: dict[str, Any], words: str):
    with pytest.raises(WindowError, match=words):
        seen(a_window(**fields), now=NOW)


WINDOWS = st.lists(
    st.builds(
        weekly,
        st.sampled_from(["MO", "TU,TH", "FR", "SA,SU"]),
        st.integers(0, 23),
        st.sampled_from(["30m", "6h", "36h"]),
        st.sampled_from(["Allow", "Deny"]),
        timezone=st.sampled_from([SHANGHAI, BERLIN, "America/St_Johns", "Pacific/Apia"]),
    ),
    min_size=1,
    max_size=4,
)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(WINDOWS, MOMENTS, st.integers(0, 600))
@example(
    [
        weekly("TU,TH", 0, "6h", "Deny", timezone="America/St_Johns"),
        weekly("TU,TH", 5, "30m", "Allow", timezone=BERLIN),
    ],
    datetime(2026, 2, 2, tzinfo=UTC),
    0,
)
def test_until_it_changes_nothing_changes_and_then_it_has(windows: list[Window], now: datetime, minutes: int):
    found = seen(*windows, now=now)
    if found.changes_at is None:
        assert seen(*windows, now=now + timedelta(minutes=minutes)).is_open is found.is_open
        return
    assert now < found.changes_at <= now + HORIZON
    assert seen(*windows, now=found.changes_at).is_open is not found.is_open
    between = min(now + timedelta(minutes=minutes), found.changes_at - timedelta(seconds=1))
    assert seen(*windows, now=max(now, between)).is_open is found.is_open


@given(WINDOWS, MOMENTS)
def test_one_more_deny_opens_nothing(windows: list[Window], now: datetime):
    denied = weekly("MO,WE,SA", 8, "12h", "Deny", timezone=BERLIN)
    assert not (seen(*windows, denied, now=now).is_open and not seen(*windows, now=now).is_open)


# What they hold.

FRIDAY = {"name": "friday", "kind": "Allow", "rrule": "FREQ=WEEKLY;BYDAY=FR;BYHOUR=20", "duration": "10h"}


def a_project(now: datetime, *modules: dict[str, Any], **fields: Any) -> ImplementationFacts:
    body = an_implementation(*(modules or (a_module("core"),)), **({"schedule": {"windows": [FRIDAY]}} | fields))
    body["spec"]["customer"]["timezone"] = SHANGHAI
    names = [module["name"] for module in body["spec"]["modules"]]
    return facts(body, {name: running(f"erp-{name}") for name in names}, now=now)


def test_a_module_that_is_ready_waits_for_its_window_and_wakes_when_it_opens():
    shut = at("2026-12-03T12:00")
    project, decision = settled(a_project(shut))
    assert states(decision) == {"core": "Prepared"}
    module = decision.status["modules"][0]  # type: ignore[index]
    assert module["reason"] == "WindowClosed"
    assert "it may go live from 2026-12-04 20:00 Asia/Shanghai (window friday)" in module["message"]
    assert decision.again == at("2026-12-04T20:00") - shut
    assert states(settled(replace(project, now=at("2026-12-04T20:00")))[1]) == {"core": "Accepted"}


def test_one_that_went_live_in_the_window_stays_live_after_it():
    project, _ = settled(a_project(at("2026-12-04T21:00")))
    assert states(settled(replace(project, now=at("2026-12-05T12:00")))[1]) == {"core": "Accepted"}


def test_one_whose_data_is_loaded_for_good_ends_its_cutover_though_the_window_shut_meanwhile():
    project = a_project(at("2026-12-05T06:30"), a_module("core", migrations=["customers"]))
    loaded = {"customers": a_migration("customers", "core", "Succeeded")}
    assert states(settled(replace(project, migrations=loaded))[1]) == {"core": "Accepted"}


def changed(project: ImplementationFacts, now: datetime, **fields: Any) -> ImplementationFacts:
    module = replace(project.modules["core"], desired=replace(project.modules["core"].desired, input="i2"), **fields)  # type: ignore[type-var]
    return replace(project, now=now, modules={"core": module})


def test_the_change_of_a_module_in_use_waits_for_a_window_too():
    project, _ = settled(a_project(at("2026-12-04T21:00")))
    later = changed(project, at("2026-12-06T12:00"))
    decision = decide(later)
    assert decision.actions == ()
    assert "a module that is in use waits" in decision.status["modules"][0]["message"]  # type: ignore[index]
    opened = decide(replace(later, now=at("2026-12-11T20:00")))
    assert [action.kind for action in opened.actions] == ["Upgrade"]


def test_the_repair_of_one_that_does_not_work_waits_for_nothing():
    project, _ = settled(a_project(at("2026-12-04T21:00")))
    decision = decide(changed(project, at("2026-12-06T12:00"), health=Health.IN_PROGRESS))
    assert [action.kind for action in decision.actions] == ["Upgrade"]


def test_a_window_that_cannot_be_understood_stops_everything_and_says_where():
    broken = FRIDAY | {"rrule": "FREQ=WEEKLY;BYDAY=XX"}
    decision = decide(a_project(at("2026-12-04T21:00"), schedule={"windows": [broken]}))
    stalled = next(found for found in decision.status["conditions"] if found["type"] == "Stalled")  # type: ignore[index]
    assert stalled["reason"] == "WindowInvalid"
    assert "spec.schedule.windows[friday].rrule" in stalled["message"]
