"""Experiments and the catalogue of policies."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from typing import TypedDict, Unpack

from streamsim_client.answers import Created, Done, Policy, Rotated, Updated
from streamsim_client.experiment_answers import (
    Code,
    DryRun,
    Experiment,
    ExperimentFields,
    Message,
    Revision,
    RevisionCode,
    ThetaPart,
    ThetaVersion,
    WholeTheta,
)
from streamsim_client.groups import Group, S, call, each, given, path
from streamsim_client.retries import Repeat
from streamsim_client.values import Json, Object


class _Revisions(TypedDict):
    revisions: list[Revision]


class Experiments(Group[S]):
    """`client.experiments`. Everything raises Unauthorized for an experiment that is not the user's.

    >>> made = client.experiments.create("buttons", get_action="self.action['button'] = 'red'")
    >>> client.experiments.update(made["id"], name="colours")["revision"]
    2
    >>> dict(client.experiments.names())[made["id"]]
    'colours'
    """

    @call
    async def create(self, name: str, **fields: Unpack[ExperimentFields]) -> Created:
        """Create an experiment from pieces of policy code, and properties.

        :raises BadRequest: naming the field; code that does not compile, with its line in `detail`.
        :raises Conflict: there are too many of this name. One that is taken gets a number behind it, and
            the answer has a `warning`.
        """
        return await self._ask(Created, "POST", "/exp", body={"name": name, **fields})

    @call
    async def get(self, experiment: str) -> Experiment:
        """All fields of an experiment, with its `key`."""
        return await self._ask(Experiment, "GET", path("exp", experiment))

    @each
    async def names(self, *, limit: int | None = None) -> AsyncGenerator[tuple[str, str], None]:
        """(id, name) of each experiment, in order of id. :param limit: how many one request fetches."""
        async for page in self._pages(dict[str, str], "/exp", {"limit": limit}):
            for pair in page.items():
                yield pair

    @call
    async def update(
        self,
        experiment: str,
        *,
        name: str | None = None,
        revision: int | None = None,
        **fields: Unpack[ExperimentFields],
    ) -> Updated:
        """Change the given fields; it takes effect with the next decision.

        :param revision: refuse, if somebody changed the experiment since it had this revision. Such a request
            is not sent again: it might be refused because of itself.
        :raises BadRequest: naming the field. :raises Conflict: another revision, or the name is taken.
        """
        body = {**given(name=name, if_revision=revision), **fields}
        repeat: Repeat = "safe" if revision is None else "never"
        return await self._ask(Updated, "PUT", path("exp", experiment), body=body, repeat=repeat)

    @call
    async def rotate_key(self, experiment: str) -> Rotated:
        """Give an experiment a new `key`; the old one is refused from now on."""
        # Not sent again: the key of a first answer that got lost would be another.
        return await self._ask(Rotated, "POST", path("exp", experiment, "key"), repeat="never")

    @call
    async def revisions(self, experiment: str) -> list[Revision]:
        """Each save of its code that is kept, newest first."""
        return (await self._ask(_Revisions, "GET", path("exp", experiment, "revisions")))["revisions"]

    @call
    async def revision(self, experiment: str, number: int) -> RevisionCode:
        """One with its code; to restore it, `update` with that. :raises NotFound: it is not kept."""
        return await self._ask(RevisionCode, "GET", path("exp", experiment, "revisions", str(number)))

    @call
    async def dry_run(
        self, experiment: str, context: Json = None, *, reward: Json = None, **code: Unpack[Code]
    ) -> DryRun:
        """What would be decided now, on the theta that there is; nothing of it is stored.

        :param reward: what is learned from it is told too. :param code: pieces that are not saved.
        :raises Unprocessable: the code failed, with piece and line in `detail`.
        """
        body = {**given(context=context, reward=reward), **code}
        return await self._ask(DryRun, "POST", path("exp", experiment, "dryrun"), body=body, repeat="safe")

    @call
    async def webhooks(self, experiment: str, *, limit: int | None = None) -> list[Message]:
        """The newest messages to an experiment's webhooks, newest first, and what became of them."""
        query = {"limit": limit}
        return await self._ask(list[Message], "GET", path("exp", experiment, "webhooks"), query=query)

    @call
    async def archive(self, experiment: str) -> Experiment:
        """Archive an experiment: it is gone for everybody, and its name is free."""
        # Not sent again: a second time it would say that there is no such experiment.
        return await self._ask(Experiment, "DELETE", path("exp", experiment))

    @call
    async def reset(
        self,
        experiment: str,
        key: str,
        *,
        theta_key: str | None = None,
        theta_value: str | None = None,
    ) -> Done:
        """Delete theta, or what is stored under a key of it, or a key and a value.

        :raises Unauthorized: a wrong key, or nothing is stored there.
        """
        query = {"key": key, "theta_key": theta_key, "theta_value": theta_value}
        where = path("exp", experiment, "resetexperiment")
        # Although a GET: repeated, it would also delete what was learned in between.
        return await self._ask(Done, "GET", where, query=query, repeat="never")

    @call
    async def theta(self, experiment: str) -> WholeTheta:
        """All rows of theta, in every named set, with their version."""
        return await self._ask(WholeTheta, "GET", path("exp", experiment, "theta"))

    @call
    async def put_theta(
        self,
        experiment: str,
        version: str,
        rows: Iterable[ThetaPart] | None = None,
        *,
        theta: Object | None = None,
        named: Object | None = None,
    ) -> ThetaVersion:
        """Set theta in place of all there is, if it still has the `version` that `theta` gave.

        :param rows: as `theta` gives them; :param theta: or, with :param named: as an hourly snapshot does.
        :raises BadRequest: naming the field. :raises Conflict: it was changed meanwhile.
        """
        body = given(version=version, rows=None if rows is None else list(rows), theta=theta, named=named)
        # Not sent again: a second time it would find the version that it made itself.
        return await self._ask(
            ThetaVersion, "PUT", path("exp", experiment, "theta"), body=body, repeat="never"
        )

    @call
    async def defaults(self) -> dict[str, str]:
        """Number, from 0, -> name of the policies of the catalogue."""
        return await self._ask(dict[str, str], "GET", "/exp/defaults")

    @call
    async def default(self, number: str | int) -> Policy:
        """A policy of the catalogue, by number or name, with its code and description. :raises NotFound:"""
        return await self._ask(Policy, "GET", path("exp", "defaults", str(number)))
