"""The end of a reset of theta."""

from __future__ import annotations

from streamsim.storage.contract.decisions import DecisionStore, Experiment, ThetaAddress, Transaction


async def delete_older(
    store: DecisionStore,
    experiment: Experiment,
    version: int,
    names: set[str],
    key: str | None,
    value: str | None,
) -> None:
    """Delete rows of sets that came up while a reset ran, and were written before it committed.

    :param version: the experiment's, as the reset left it. :param names: of the sets that the reset knew.
    :param key: and :param value: what it was about.
    """
    for name in set(await store.theta_names(experiment.id)) - names:
        rows = (await store.read_theta(ThetaAddress(experiment.id, name, key, value))).rows
        for address, (_, written) in rows.items():
            if written < version:
                row = ThetaAddress(experiment.id, name, *address)
                current = {experiment.id: experiment.revision}
                # Refused if the row was written since, which makes it newer than the reset.
                await store.commit(
                    Transaction(experiment.tenant, current, reads={row: written}, deletes=[row])
                )
