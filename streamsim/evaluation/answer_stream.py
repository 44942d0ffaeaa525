"""A simulation's answer as JSON text that is written while the draws happen."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

import msgspec

from streamsim import values
from streamsim.decisions.wire import WireTheta, theta_labels
from streamsim.errors import StreamsimError, error_body
from streamsim.evaluation.evaluations import Evaluations
from streamsim.evaluation.simulation import Start

HELD_BYTES: Final = 1 << 20
"""An answer with records of fewer bytes is one part, so that an error in it still has its status."""


async def simulation_answer(
    evaluations: Evaluations,
    tenant: str,
    experiment_id: str,
    draws: int,
    seed: int,
    start: Start,
    *,
    verbose: bool,
    logged: bool,
) -> AsyncGenerator[bytes, None]:
    """The answer in parts: `{"experiment", "seed", "data"?, "simulate", "theta"?, "error"?}`.

    :param verbose: `data` has every draw by number; otherwise `theta` is what was learned in the end.
    :param logged: whether draws are put into the simulation log.
    :raises StreamsimError: before the first part. Later `simulate` is "failed", and `error` says why.
    """
    held, size, number, sent = [values.dump({"experiment": experiment_id, "seed": seed})[:-1]], 0, 0, False
    if verbose:
        held.append(b',"data":{')
    ending: dict[str, Any] = {"simulate": "success"}
    theta: list[WireTheta] = []
    pieces = evaluations.simulate(tenant, experiment_id, draws, seed, start, records=verbose, logged=logged)
    try:
        async for piece in pieces:
            theta = piece.theta
            for record in piece.records if verbose else ():
                held.append(b'%s"%d":%s' % (b"," if number else b"", number, record))
                number += 1
                size += len(record)
            if size > HELD_BYTES:
                sent = True
                yield b"".join(held)
                held, size = [], 0
    except StreamsimError as error:
        if not sent:
            raise
        ending = {"simulate": "failed", **error_body(error)}
    finally:
        await pieces.aclose()
    if verbose:
        held.append(b"}")
    else:
        ending["theta"] = shown_theta(theta)
    yield b"".join(held) + b"," + values.dump(ending)[1:]


def shown_theta(rows: list[WireTheta]) -> Any:
    """The rows of the default set as `get_theta()` gives them to policy code."""
    texts = {(key, value): msgspec.Raw(data) for _, name, key, value, data in rows if name == "_theta"}
    view = dict(zip(theta_labels(texts), texts.values(), strict=True))
    return view[""] if list(view) == [""] else view
