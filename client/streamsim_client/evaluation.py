"""Offline evaluation: simulate, simulation jobs, comparisons, off-policy estimates."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Literal, TypedDict, Unpack

from streamsim_client.answers import (
    Check,
    Comparison,
    Ended,
    Job,
    JobEvent,
    OffPolicies,
    OffPolicy,
    Simulated,
)
from streamsim_client.errors import of_element
from streamsim_client.groups import Group, S, call, each, given, path
from streamsim_client.model_answers import Work
from streamsim_client.sending import Parameter, Request
from streamsim_client.values import Object


class LogFields(TypedDict, total=False):
    """How a log is read, and candidates are judged on it; see docs/evaluation.md.

    `log` is the text of a log to use in place of the experiment's own, in a `format`.
    """

    theta: Literal["current", "empty", "split", "progressive", "replay"]
    seed: int
    runs: int
    rows: int
    log: str
    format: Literal["jsonl", "csv"]
    action_field: str
    reward_field: str
    unit: str
    propensity_field: str
    context_fields: Iterable[str]
    predictions_field: str


Start = Literal["empty", "current"]
"""Theta at the beginning of a simulation: none, or a copy of the live one."""


class Replications(TypedDict, total=False):
    """How experiments are simulated; see docs/evaluation.md. `n`: draws of one replication."""

    n: int
    replications: int
    seed: int
    theta: Start
    points: int
    action_field: str
    reward_field: str


class Evaluation(Group[S]):
    """`client.evaluation`. Live theta is never changed.

    >>> client.evaluation.simulate(ID, n=100, seed=1, verbose=False)["theta"]
    {}
    >>> job = client.evaluation.start(ID, n=10, replications=2)
    >>> [event["state"] for event in client.evaluation.events(ID, job["id"])][-1]
    'done'
    """

    @call
    async def simulate(
        self,
        experiment: str,
        *,
        n: int | None = None,
        seed: int | None = None,
        theta: Start | None = None,
        verbose: bool = True,
        log_stats: bool = False,
    ) -> Simulated:
        """Run the closed loop of an experiment for `n` draws, by default 1,000.

        :param verbose: answer what happened in each draw, in place of the final theta.
        :param log_stats: store each draw in the simulation log; such a request is not sent again.
        :raises BadRequest: it takes too long, or has too many draws: make a job of it.
        :raises ServerError: the policy's code failed; with status 200 if the answer had begun.
        """
        query: dict[str, Parameter] = {"N": n, "seed": seed, "theta": theta}
        query |= {"verbose": verbose, "log_stats": log_stats}
        where = path("eval", experiment, "simulate")
        repeat: Literal["safe", "never"] = "never" if log_stats else "safe"
        answer = await self._ask(Simulated, "GET", where, query=query, repeat=repeat)
        if answer["simulate"] != "success":
            error = of_element(answer.get("error", {}))
            error.status = 200
            raise error
        return answer

    @call
    async def start(self, experiment: str, **request: Unpack[Replications]) -> Job:
        """Begin a simulation job. :raises BadRequest: naming the field."""
        where = path("eval", experiment, "simulations")
        return await self._ask(Job, "POST", where, body=_with_n(request))

    @each
    def jobs(self, experiment: str, *, limit: int | None = None) -> AsyncGenerator[Job, None]:
        """The experiment's simulation jobs, newest first. :param limit: how many one request fetches."""
        where = path("eval", experiment, "simulations")
        return self._items(Job, where, {"limit": limit})

    @call
    async def job(self, experiment: str, job: str) -> Job:
        """State and progress of a job and, when it is done, its `result`. :raises NotFound:"""
        return await self._ask(Job, "GET", path("eval", experiment, "simulations", job))

    @each
    def events(self, experiment: str, job: str) -> AsyncGenerator[JobEvent, None]:
        """The job's progress as it happens, at last an event `end`.

        If the server stops before, the last event is a `progress`: ask again. :raises NotFound:
        """
        return self._events(path("eval", experiment, "simulations", job, "events"))

    @call
    async def cancel(self, experiment: str, job: str) -> Ended:
        """Cancel a job; remove one that is finished. :raises NotFound:"""
        # Not sent again: the first time it would cancel, the second time remove.
        return await self._ask(Ended, "DELETE", path("eval", experiment, "simulations", job))

    @call
    async def compare(
        self,
        experiments: Iterable[str],
        *,
        environment: str | None = None,
        **request: Unpack[Replications],
    ) -> Comparison:
        """Simulate several experiments on common random numbers.

        :param environment: the experiment whose contexts and rewards are used; by default the first one.
        :raises BadRequest: naming the field. :raises Unprocessable: code failed.
        """
        body = {"experiments": list(experiments), **given(environment=environment), **_with_n(request)}
        return await self._ask(Comparison, "POST", "/eval/compare", body=body, repeat="safe")

    @call
    async def start_comparison(
        self,
        experiments: Iterable[str],
        *,
        environment: str | None = None,
        **request: Unpack[Replications],
    ) -> Work:
        """Begin a job that compares, for what takes longer than a request; see `client.jobs`.

        Its `result` is what `compare` returns; `compared_as` has it as a table or a plot.
        :raises BadRequest: naming the field.
        """
        body = {"experiments": list(experiments), **given(environment=environment), **_with_n(request)}
        return await self._ask(Work, "POST", "/eval/comparisons", body=body)

    @call
    async def compared_as(self, form: Literal["csv", "svg", "png"], job: str) -> bytes:
        """What a job that compares has found, as the bytes of a table or a plot.

        :raises NotFound: it is no such job. :raises Conflict: it is not done.
        """
        asked = Request("GET", path("eval", "comparisons", job), {"format": form}, repeat="safe")
        return (await self._sender.ask(asked)).content

    @call
    async def compare_as(
        self,
        form: Literal["csv", "svg", "png"],
        experiments: Iterable[str],
        *,
        environment: str | None = None,
        **request: Unpack[Replications],
    ) -> bytes:
        """The same as `compare` as the bytes of a table or a plot. :raises: as `compare`."""
        body = {"experiments": list(experiments), **given(environment=environment), **_with_n(request)}
        plotted = Request("POST", "/eval/compare", {"format": form}, body, repeat="safe")
        return (await self._sender.ask(plotted)).content

    @call
    async def off_policy(
        self,
        experiment: str,
        candidate: Mapping[str, object],
        *,
        estimators: Iterable[str] | None = None,
        **request: Unpack[LogFields],
    ) -> OffPolicy:
        """Estimate what a candidate would have earned per decision on logged decisions.

        :param candidate: `{"experiment": ID}` or `{"code": {"get_action": CODE}}`.
        :param estimators: by default all, see docs/evaluation.md.
        :raises BadRequest: naming the field. :raises Unprocessable: the candidate's code failed.
        """
        body = given(candidate=dict(candidate)) | _judging(estimators, request)
        return await self._ask(
            OffPolicy, "POST", path("eval", experiment, "offpolicy"), body=body, repeat="safe"
        )

    @call
    async def off_policies(
        self,
        experiment: str,
        candidates: Mapping[str, Mapping[str, object]],
        *,
        estimators: Iterable[str] | None = None,
        **request: Unpack[LogFields],
    ) -> OffPolicies:
        """The same of up to 10 candidates by name, on the same decisions, with their paired differences.

        :raises: as `off_policy`.
        """
        several = {name: dict(one) for name, one in candidates.items()}
        body = given(candidates=several) | _judging(estimators, request)
        return await self._ask(
            OffPolicies, "POST", path("eval", experiment, "offpolicy"), body=body, repeat="safe"
        )

    @call
    async def sample_ratio(
        self, counts: Mapping[str, int], *, shares: Mapping[str, float] | None = None
    ) -> Check:
        """Check whether so many units of each arm are what was planned.

        :param shares: of the arms; all the same by default. :raises BadRequest: naming the field.
        """
        body = given(counts=dict(counts), shares=None if shares is None else dict(shares))
        return await self._ask(Check, "POST", "/eval/sample-ratio", body=body, repeat="safe")


def _judging(estimators: Iterable[str] | None, request: LogFields) -> Object:
    """The fields of an off-policy evaluation beside its candidates."""
    fields = given(**request)
    if "context_fields" in request:
        fields["context_fields"] = list(request["context_fields"])
    return fields if estimators is None else fields | {"estimators": list(estimators)}


def _with_n(request: Replications) -> Object:
    """The fields as the server calls them."""
    return {"N" if name == "n" else name: value for name, value in request.items()}
