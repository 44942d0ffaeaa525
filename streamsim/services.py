"""What the service is made of, as one object that handlers and jobs are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamsim.waiting import Lately, Refusals

if TYPE_CHECKING:
    from streamsim.accounts.accounts import Accounts
    from streamsim.config import Settings
    from streamsim.decisions.decisions import Decisions
    from streamsim.evaluation.evaluations import Evaluations
    from streamsim.evaluation.offline import Offline
    from streamsim.experiments.catalogue import Catalogue
    from streamsim.experiments.experiments import Experiments
    from streamsim.experiments.traffic import Traffic
    from streamsim.experiments.watching import Watching
    from streamsim.jobs.jobs import Jobs
    from streamsim.metrics import Metrics
    from streamsim.models.instances import Instances
    from streamsim.models.library import Models
    from streamsim.models.live_runs import LiveRuns
    from streamsim.models.run_service import RunService
    from streamsim.models.scenarios import Scenarios
    from streamsim.models.sweeps import Sweeps
    from streamsim.sandbox.host.pool import Sandbox
    from streamsim.storage.contract.store import Store
    from streamsim.tracing import Tracing


@dataclass
class Services:
    """One server process's parts. `draining` is set when the process takes no new connections."""

    settings: Settings
    store: Store
    sandbox: Sandbox
    decisions: Decisions
    accounts: Accounts
    experiments: Experiments
    watching: Watching
    traffic: Traffic
    catalogue: Catalogue
    metrics: Metrics
    models: Models
    live_runs: LiveRuns
    scenarios: Scenarios
    instances: Instances
    evaluations: Evaluations
    offline: Offline
    sweeps: Sweeps
    jobs: Jobs
    run_service: RunService
    tracing: Tracing | None = None
    draining: bool = False
    lately: Lately = field(default_factory=Lately)
    refusals: Refusals = field(default_factory=Refusals)
