"""Replications of several simulations in one environment, some at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from streamsim.errors import StreamsimError
from streamsim.evaluation.pools import Nest, Pool
from streamsim.evaluation.requests import Replications
from streamsim.evaluation.simulation import Curve, points_of, replication_seed, with_seed
from streamsim.evaluation.wire import SimulationLoad
from streamsim.jobs.jobs import together


async def replicated(
    pool: Pool,
    loads: dict[str, SimulationLoad],
    nest: Nest,
    request: Replications,
    *,
    identity: str,
    progress: Callable[[int], None] = lambda draws: None,
    failed: Callable[[str, StreamsimError], StreamsimError] = lambda name, error: error,
    known: Mapping[tuple[str, int], Curve] | None = None,
    keep: Callable[[str, int, Curve], Awaitable[None]] | None = None,
) -> dict[str, list[Curve]]:
    """All replications of all simulations, by name, in order of their number.

    :param failed: what to raise in place of the failure of a simulation.
    :param known: those that are done, by name and number. :param keep: given each other one when it is.
    """
    points = points_of(request.draws, request.points)
    curves: dict[tuple[str, int], Curve] = dict(known or {})
    everything = ((name, number) for number in range(request.replications) for name in loads)
    work = [one for one in everything if one not in curves]
    missing = iter(work)

    async def some() -> None:
        for name, number in missing:
            load = with_seed(loads[name], replication_seed(request.seed, number))
            try:
                curve = await pool.replicate(load, nest, points, identity=identity, progress=progress)
            except StreamsimError as error:
                # The others are no fault of one experiment: a full queue, a process that cannot be started.
                if not error.code.startswith("policy_"):
                    raise
                raise failed(name, error) from None
            if keep is not None:
                await keep(name, number, curve)
            curves[name, number] = curve

    await together(some() for _ in range(min(pool.at_once, len(work))))
    return {name: [curves[name, number] for number in range(request.replications)] for name in loads}


def of_one(
    error: StreamsimError, name: str, field: str | None, environment: str, environment_field: str | None
) -> StreamsimError:
    """A failure in a comparison, with the experiment that was played and in which environment.

    :param field: of the experiment's actions that names the arm, where it declares one; likewise that of the
        environment.
    """
    message = f"experiment {name} in the environment of {environment}: {error.message}"
    detail = {"experiment": name, "environment": environment}
    if field is not None and environment_field is not None and field != environment_field:
        message += (
            f"; {name} has its arm in the field {field}, {environment} in {environment_field}: experiments "
            "that are compared need one name for it"
        )
        detail |= {"arm_field": field, "environment_arm_field": environment_field}
    more = error.detail if isinstance(error.detail, dict) else {}
    named = StreamsimError(message, field=error.field, detail=more | detail)
    named.status, named.code = error.status, error.code
    return named
