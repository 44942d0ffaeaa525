"""What the service is made of, as one object that handlers and jobs are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamsim.accounts import Accounts
    from streamsim.catalogue import Catalogue
    from streamsim.config import Settings
    from streamsim.decisions.service import Decisions
    from streamsim.evaluation.offline import Offline
    from streamsim.evaluation.service import Evaluations
    from streamsim.experiments import Experiments
    from streamsim.metrics import Metrics
    from streamsim.models.interactive import Interactive
    from streamsim.models.library import Models
    from streamsim.models.runs import Runs
    from streamsim.models.scenarios import Scenarios
    from streamsim.models.sweeps import Sweeps
    from streamsim.sandbox.pool import Sandbox
    from streamsim.storage.contract import Store
    from streamsim.work import Work


@dataclass
class Services:
    """One server process's parts. `draining` is set when the process takes no new connections."""

    settings: Settings
    store: Store
    sandbox: Sandbox
    decisions: Decisions
    accounts: Accounts
    experiments: Experiments
    catalogue: Catalogue
    metrics: Metrics
    models: Models
    runs: Runs
    scenarios: Scenarios
    evaluations: Evaluations
    offline: Offline
    sweeps: Sweeps
    work: Work
    interactive: Interactive
    draining: bool = False
