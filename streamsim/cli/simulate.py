"""`streamsim simulate`: replications of an experiment in a terminal, with a progress bar."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from typing import Any, TextIO

import msgspec

from streamsim.config import Settings
from streamsim.errors import StreamsimError
from streamsim.evaluation import requests
from streamsim.evaluation.compare import Summary, summary
from streamsim.evaluation.evaluations import Evaluations
from streamsim.evaluation.pools import Nest
from streamsim.evaluation.replicated import replicated
from streamsim.evaluation.simulation import points_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("experiment", metavar="EXP", help="id of the experiment")
    parser.add_argument("--n", type=int, default=requests.DEFAULT_DRAWS, help="draws of each replication")
    parser.add_argument("--replications", type=int, default=1, help="independent replications")
    parser.add_argument("--seed", type=int, default=None, help="repeat the numbers of this seed")
    parser.add_argument("--theta", choices=("empty", "current"), default="empty", help="where theta starts")
    parser.add_argument("--action-field", metavar="NAME", help="the field of the action that names the arm")
    parser.add_argument("--reward-field", metavar="NAME", help="the field of the reward that is the number")
    parser.add_argument("--json", action="store_true", help="print the result of a simulation job as JSON")


async def simulate(evaluations: Evaluations, settings: Settings, options: argparse.Namespace) -> None:
    """Run the command, and print what the replications earned.

    :raises StreamsimError: no such experiment, bad numbers, or code that fails.
    """
    # Nothing else needs it: imported here, no other command waits for it.
    from tqdm import tqdm

    experiment = await evaluations.store.decisions.get_experiment(options.experiment)
    if experiment is None or experiment.archived:
        raise StreamsimError(f"there is no experiment {options.experiment}")
    body = {
        "N": options.n,
        "replications": options.replications,
        "seed": secrets.randbits(32) if options.seed is None else options.seed,
        "theta": options.theta,
        "action_field": options.action_field,
        "reward_field": options.reward_field,
    }
    request = requests.replications(body, settings.evaluation.job_draws, "evaluation.job_draws")
    load = msgspec.structs.replace(
        await evaluations.load(experiment, request.theta),
        action_field=request.action_field,
        reward_field=request.reward_field,
    )
    nest = Nest(evaluations.store, experiment.tenant, current=request.theta == "current")
    total = request.draws * request.replications
    with tqdm(total=total, unit=" draws", unit_scale=True, file=sys.stderr, mininterval=0.2) as bar:
        curves = await replicated(
            evaluations.pool,
            {experiment.name: load},
            nest,
            request,
            identity=f"{experiment.tenant}/{experiment.id}",
            progress=lambda draws: _advance(bar, draws),
        )
    points = points_of(request.draws, request.points)
    found = summary(points, curves[experiment.name])
    result = {"points": points, "replications": request.replications, **msgspec.to_builtins(found)}
    if options.json:
        print(json.dumps({"seed": request.seed, **result}))
    else:
        report(experiment.name, request, found, sys.stdout)


def _advance(bar: Any, draws: int) -> None:
    bar.update(draws)


def report(name: str, request: requests.Replications, found: Summary, out: TextIO) -> None:
    """Final figures for people."""
    print(f"{name}: {request.replications} x {request.draws:,} draws, seed {request.seed}", file=out)
    for title, bands in (("reward", found.reward), ("regret", found.regret)):
        if bands is not None:
            mean, low, high = bands.mean[-1], bands.low[-1], bands.high[-1]
            ends = "" if low is None or high is None else f"  (95 % interval {low:,.2f} to {high:,.2f})"
            print(f"cumulative {title}  {mean:,.2f}{ends}", file=out)
    print("share of each arm in the last decisions:", file=out)
    for arm, shares in sorted(found.arms.items(), key=lambda item: -item[1][-1])[:20]:
        print(f"  {shares[-1]:7.1%}  {arm}", file=out)
