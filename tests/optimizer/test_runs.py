"""Runs over tenants, and what owners set of detectors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from finops.common.v1.money_pb2 import Money
from finops.optimizer.v1 import optimizer_messages_pb2, run_model_pb2
from finops.optimizer.v1 import run_service_pb2 as messages
from google.protobuf.field_mask_pb2 import FieldMask

from services.kernel.jobs import enqueue
from services.optimizer.domain.detectors import PROFILES
from services.optimizer.domain.run import RunTrigger
from services.optimizer.store import detectors as detector_rows
from services.optimizer.worker import DUE_JOB
from tests.optimizer.conftest import Desk
from tests.optimizer.making import machine_hours
from tests.support.server import refused
from tests.support.waiting import eventually


async def ended(desk: Desk, run_id: str) -> run_model_pb2.OptimizationRun:
    async def look() -> run_model_pb2.OptimizationRun | None:
        request = messages.GetOptimizationRunRequest(run_id=run_id)
        run: run_model_pb2.OptimizationRun = (
            await desk.runs("platform_admin").GetOptimizationRun(request)
        ).run
        return run if run.HasField("end_time") else None

    found = await eventually(look, seconds=60)
    assert found is not None
    return found


async def test_a_platform_admin_runs_all_tenants_and_sees_the_progress(desk: Desk) -> None:
    other = Desk(desk.stage, f"{desk.tenant}-other")
    for each in (desk, other):
        await each.record(list(machine_hours("idle", lambda _: 0.002, days=20)))
    stub = desk.runs("platform_admin")

    tenants = [desk.tenant, other.tenant]
    request = messages.RunOptimizationRequest(tenant_ids=tenants, detector_ids=["idle"])
    started = (await stub.RunOptimization(request)).run
    run = await ended(desk, started.run_id)

    assert run.state == run_model_pb2.RUN_STATE_SUCCEEDED
    assert (run.progress.done_units, run.progress.total_units) == (2, 2)
    assert (run.found_count, run.event_count) == (2, 2 * 20 * 24)
    listed = await stub.ListOptimizationRuns(
        messages.ListOptimizationRunsRequest(filter="state = SUCCEEDED AND trigger = REQUEST")
    )
    assert listed.runs[0].run_id == run.run_id
    over = await refused(
        stub.CancelOptimizationRun(messages.CancelOptimizationRunRequest(run_id=run.run_id))
    )
    unknown = await refused(
        stub.GetOptimizationRun(messages.GetOptimizationRunRequest(run_id="none"))
    )
    plain = await refused(desk.runs("org_admin").RunOptimization(request))
    assert over.reason == "OPTIMIZATION_RUN_ENDED"
    assert unknown.reason == "OPTIMIZATION_RUN_NOT_FOUND"
    assert plain.code.name == "PERMISSION_DENIED"


async def test_a_tenant_whose_run_breaks_keeps_no_other_from_its_advice(desk: Desk) -> None:
    broken = Desk(desk.stage, f"{desk.tenant}-broken")
    for each in (broken, desk):
        await each.record(list(machine_hours("idle", lambda _: 0.002, days=20)))
    async with desk.stage.database.system_transaction() as tx:
        await tx.driver.execute(
            "UPDATE usage_day SET hours = '\\x00' WHERE tenant_id = $1", broken.tenant
        )

    tenants = [broken.tenant, desk.tenant]
    request = messages.RunOptimizationRequest(tenant_ids=tenants, detector_ids=["idle"])
    run = await ended(desk, (await desk.runs("platform_admin").RunOptimization(request)).run.run_id)

    assert run.state == run_model_pb2.RUN_STATE_PARTIALLY_FAILED
    assert run.found_count == 1
    assert broken.tenant in run.error


async def test_a_run_whose_cause_is_gone_lets_advice_expire(desk: Desk) -> None:
    await desk.record(list(machine_hours("idle", lambda _: 0.002, days=20)))
    stub = desk.optimizer()
    request = optimizer_messages_pb2.GenerateRecommendationsRequest(detector_ids=["idle"])
    first = await stub.GenerateRecommendations(request, timeout=60)
    settings = run_model_pb2.Detector(detector_id="idle", excluded_resource_ids=["idle"])
    await desk.runs().UpdateDetector(messages.UpdateDetectorRequest(detector=settings))

    second = await stub.GenerateRecommendations(request, timeout=60)

    assert (first.run.found_count, second.run.expired_count) == (1, 1)
    listed = await stub.ListRecommendations(
        optimizer_messages_pb2.ListRecommendationsRequest(filter="state = EXPIRED")
    )
    assert len(listed.recommendations) == 1


async def test_a_run_over_a_short_or_past_period_changes_nothing_that_is_known(desk: Desk) -> None:
    await desk.record(list(machine_hours("idle", lambda _: 0.002, days=50)))
    stub = desk.optimizer()
    whole = optimizer_messages_pb2.GenerateRecommendationsRequest(detector_ids=["idle"])
    known = (await stub.GenerateRecommendations(whole, timeout=60)).recommendations[0]

    for start, end in (("2026-03-10", ""), ("2025-10-01", "2026-01-15"), ("2026-01-20", "")):
        request = optimizer_messages_pb2.GenerateRecommendationsRequest(
            detector_ids=["idle"], start=start, end=end
        )
        answer = await stub.GenerateRecommendations(request, timeout=60)
        counts = answer.run.found_count, answer.run.refreshed_count, answer.run.expired_count
        assert counts == (0, 0, 0)
        assert answer.recommendations[0].etag == known.etag


async def test_detectors_are_listed_and_their_settings_kept(desk: Desk) -> None:
    stub = desk.runs()
    page = await stub.ListDetectors(messages.ListDetectorsRequest(page_size=5))
    rest = await stub.ListDetectors(messages.ListDetectorsRequest(page_token=page.next_page_token))
    names = [one.detector_id for one in (*page.detectors, *rest.detectors)]
    assert names == sorted(names)
    assert len(names) == 14
    assert len(page.detectors) == 5

    changed = run_model_pb2.Detector(
        detector_id="rightsizing",
        headroom_ratio="0.35",
        monthly_saving_min=Money(currency_code="USD", amount="25"),
        schedule="off",
        disabled=True,
    )
    answer = await stub.UpdateDetector(messages.UpdateDetectorRequest(detector=changed))
    assert answer.detector.headroom_ratio == "0.35"
    assert answer.detector.etag == "r1"
    disabled = await stub.ListDetectors(messages.ListDetectorsRequest(filter="disabled = true"))
    assert [one.detector_id for one in disabled.detectors] == ["rightsizing"]
    kinds = await stub.ListDetectors(messages.ListDetectorsRequest(filter="kind:BATCHING"))
    assert [one.detector_id for one in kinds.detectors] == ["bulk"]
    back = messages.UpdateDetectorRequest(
        detector=run_model_pb2.Detector(detector_id="rightsizing"),
        update_mask=FieldMask(paths=["headroom_ratio", "schedule"]),
    )
    assert (await stub.UpdateDetector(back)).detector.headroom_ratio == "0.2"


async def test_settings_that_make_no_sense_are_refused(desk: Desk) -> None:
    stub = desk.runs()

    async def update(**fields: Any) -> str:
        detector = run_model_pb2.Detector(**fields)
        request = messages.UpdateDetectorRequest(detector=detector)
        return (await refused(stub.UpdateDetector(request))).reason

    assert await update(detector_id="idle", schedule="at noon") == "INVALID_SCHEDULE"
    assert await update(detector_id="idle", schedule="0 0 30 2 *") == "INVALID_SCHEDULE"
    assert await update(detector_id="none", schedule="off") == "DETECTOR_NOT_FOUND"
    assert await update(detector_id="idle", schedule="off", etag="r7") == "STALE_DETECTOR"
    least = Money(currency_code="JPY", amount="100")
    assert await update(detector_id="idle", monthly_saving_min=least) == "DETECTOR_SAVING_CURRENCY"


async def test_due_runs_are_queued_by_schedule_and_by_usage_once(desk: Desk) -> None:
    await desk.record(list(machine_hours("idle", lambda _: 0.002, days=20)))
    request = optimizer_messages_pb2.GenerateRecommendationsRequest(detector_ids=["idle"])
    await desk.optimizer().GenerateRecommendations(request, timeout=60)
    database = desk.stage.database
    async with database.transaction(desk.tenant) as tx:
        # As if the only run had been yesterday, and the usage had come an hour ago.
        await tx.driver.execute("UPDATE run SET created_at = created_at - interval '1 day'")
        await tx.driver.execute("UPDATE due_run SET due_at = due_at - interval '1 hour'")
        # One that never comes, as it could be stored once, and one on demand alone.
        for detector_id, schedule in (("idle", "0 0 30 2 *"), ("models", "off")):
            settings = PROFILES[detector_id].defaults()
            changed = replace(settings, schedule=schedule)
            await detector_rows.save(tx, desk.tenant, changed, revision=1)

    for _ in range(2):
        async with database.system_transaction() as tx:
            await enqueue(tx, DUE_JOB)

    async def triggers() -> dict[int, set[str]]:
        async with database.read(desk.tenant) as tx:
            rows = await tx.driver.fetch(
                "SELECT trigger, detector_ids FROM run WHERE tenant_id = $1 AND state = 3",
                desk.tenant,
            )
        assert len(rows) <= 3
        return {row[0]: set(row[1]) for row in rows} if len(rows) == 3 else {}

    assert await eventually(triggers, seconds=60) == {
        RunTrigger.FEED: set(PROFILES) - {"models"},
        RunTrigger.REQUEST: {"idle"},
        RunTrigger.SCHEDULE: set(PROFILES) - {"idle", "models"},
    }


async def test_a_run_whose_job_was_lost_goes_on_where_it_stood(desk: Desk) -> None:
    await desk.record(list(machine_hours("idle", lambda _: 0.002, days=20)))
    database = desk.stage.database
    request = messages.RunOptimizationRequest(tenant_ids=[desk.tenant], detector_ids=["idle"])
    run = (await desk.runs("platform_admin").RunOptimization(request)).run
    await ended(desk, run.run_id)
    async with database.system_transaction() as tx:
        # As a worker leaves it that was cut off in the middle.
        await tx.driver.execute(
            "UPDATE run SET state = 2, ended_at = NULL, done_count = 0,"
            " updated_at = updated_at - interval '1 hour' WHERE run_id = $1",
            run.run_id,
        )
        await tx.driver.execute(
            "UPDATE run_target SET is_done = false WHERE run_id = $1", run.run_id
        )

    async def is_resumed() -> bool:
        # As every minute does: the first may come while the queue still holds the old job.
        async with database.system_transaction() as tx:
            await enqueue(tx, DUE_JOB, key="due")
        request = messages.GetOptimizationRunRequest(run_id=run.run_id)
        found = await desk.runs("platform_admin").GetOptimizationRun(request)
        return bool(found.run.HasField("end_time"))

    await eventually(is_resumed, seconds=60)
    resumed = await ended(desk, run.run_id)

    assert resumed.state == run_model_pb2.RUN_STATE_SUCCEEDED
    assert resumed.progress.done_units == 1
