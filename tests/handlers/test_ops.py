"""What operators look at: the page, liveness, readiness, metrics."""

from __future__ import annotations

import re

import pytest

from streamsim.services import Services
from tests.application import Caller


@pytest.mark.gen_test
async def test_page_links_to_what_is_there(nobody: Caller, ann: Caller) -> None:
    page = await nobody.get("/")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    links = re.findall(r'href="([^"]+)"', page.body)
    assert links
    for link in links:
        assert (await ann.get(link)).status == 200


@pytest.mark.gen_test
async def test_healthy_by_get_and_head(nobody: Caller) -> None:
    answer = await nobody.get("/healthy")
    assert (answer.status, answer.body["status"]) == (200, "ok")
    assert (await nobody.request("HEAD", "/healthy")).status == 200


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_ready_until_the_server_stops(nobody: Caller, services: Services) -> None:
    assert (await nobody.get("/ready")).status == 200
    services.draining = True
    answer = await nobody.get("/ready")
    assert answer.status == 503
    assert answer.headers["connection"] == "close"
    assert (await nobody.get("/healthy")).status == 200


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_ready_names_the_store_that_is_away(
    nobody: Caller, services: Services, storage: dict[str, object]
) -> None:
    await services.store.close()
    answer = await nobody.get("/ready")
    assert answer.status == 503
    name = "Redis" if storage else "SQLite"
    assert answer.body["error"]["message"] == f"{name} cannot be reached now"


@pytest.mark.gen_test
async def test_metrics_count_requests_by_route_and_name_no_id(ann: Caller, nobody: Caller) -> None:
    experiment = await ann.experiment(get_action="self.action['arm'] = 1")
    for _ in range(3):
        await ann.get(f"/getaction/{experiment['id']}", key=experiment["key"])
    await nobody.get(f"/getaction/{experiment['id']}", key="wrong")
    await nobody.get("/no/such/path")
    text = (await nobody.get("/metrics")).body

    def value(line: str) -> float:
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        assert found, line
        return float(found[1])

    route = 'route="/getaction/{exp_id}"'
    assert value(f'streamsim_http_requests_total{{method="GET",{route},status="200"}}') == 3
    assert value(f'streamsim_http_requests_total{{method="GET",{route},status="401"}}') == 1
    assert value('streamsim_http_requests_total{method="GET",route="other",status="404"}') == 1
    assert value(f"streamsim_http_request_seconds_count{{{route}}}") == 4
    assert value("streamsim_decision_calls_total") == 3
    assert value("streamsim_lane_depth") == value("streamsim_outbox_rows") == 0
    assert value("streamsim_sandbox_workers") >= 1
    assert value("streamsim_sandbox_workers_started_total") >= value("streamsim_sandbox_workers")
    assert value('streamsim_commits_total{result="committed"}') >= 1
    assert experiment["id"] not in text
    assert "ann" not in re.findall(r'"([^"]*)"', text)


@pytest.mark.gen_test
async def test_methods_that_a_client_makes_up_are_one_label(services: Services) -> None:
    for number in range(20):
        services.metrics.request("/healthy", f"MADE{number}", 405, 0.001)
    text = services.metrics.text().decode()
    assert "MADE" not in text
    assert 'method="other"' in text
