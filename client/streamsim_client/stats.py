"""Theta, logs, counters and health of experiments."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

from streamsim_client.answers import (
    ActionRow,
    DecisionRow,
    ErrorRow,
    Health,
    RewardRow,
    SimulationRow,
    Summary,
    ThetaRow,
)
from streamsim_client.groups import Group, S, T, call, each, path
from streamsim_client.inference_answers import Inference
from streamsim_client.reading import events
from streamsim_client.sending import Request
from streamsim_client.traffic_answers import Buckets, Overview
from streamsim_client.values import Object

PAGE_ROWS = 1_000


class Stats(Group[S]):
    """`client.stats`. Logs are iterators, newest first, that fetch pages as they go.

    `limit` is how many rows one request fetches, from 1 to 10,000. Everything
    raises Unauthorized for an experiment that is not the user's.

    >>> _ = client.decisions.set_reward(ID, KEY, 0.5, action={"arm": "a"})
    >>> newest = next(client.stats.reward_log(ID, limit=1))
    >>> newest["action"], newest["reward"]
    ({'arm': 'a'}, 0.5)
    """

    @call
    async def current_theta(self, experiment: str, *, name: str | None = None) -> Object:
        """Theta as `{"key:value": {...}}`; a keyless dict alone as it is. :param name: of a named set."""
        where = path("stats", experiment, "currenttheta")
        return await self._ask(Object, "GET", where, query={"name": name})

    @call
    async def summary(self, experiment: str) -> Summary:
        """Numbers of calls, and the dates of the last ones."""
        return await self._ask(Summary, "GET", path("stats", experiment, "summary"))

    @call
    async def overview(self, *, limit: int | None = None, after: str | None = None) -> list[Overview]:
        """The user's experiments in order of id, with what came in the last 24 hours.

        :param limit: at most so many, up to 100. :param after: those with a greater id.
        """
        return await self._ask(list[Overview], "GET", "/stats", query={"limit": limit, "after": after})

    @call
    async def buckets(
        self,
        experiment: str,
        *,
        step: Literal["minute", "hour"] = "minute",
        since: str | None = None,
        until: str | None = None,
    ) -> Buckets:
        """Decisions and rewards by minute or hour, arm by arm. :param since: ISO 8601; so is `until`."""
        query = {"step": step, "from": since, "to": until}
        return await self._ask(Buckets, "GET", path("stats", experiment, "buckets"), query=query)

    @each
    async def live(self, experiment: str, *, seconds: int = 0) -> AsyncGenerator[Object, None]:
        """Numbers of calls, newest decisions and rewards: those there are, then for so long what comes."""
        where = path("stats", experiment, "live")
        texts = self._sender.stream(Request("GET", where, {"seconds": seconds}, repeat="safe", endless=True))
        async with aclosing(events(texts)) as found:
            async for _, data in found:
                yield data

    @call
    async def health(self, experiment: str, *, rows: int | None = None, unit: str | None = None) -> Health:
        """Checks of the newest decisions, rewards and errors. :param rows: so many; 10,000 by default.

        :param unit: the field of contexts that names the unit, each of which counts once.
        """
        query = {"rows": rows, "unit": unit}
        return await self._ask(Health, "GET", path("stats", experiment, "health"), query=query)

    @call
    async def inference(
        self,
        experiment: str,
        *,
        reward_field: str | None = None,
        metric: str | None = None,
        control: str | None = None,
        alpha: float | None = None,
        by: str | None = None,
        segments: int | None = None,
        until: str | None = None,
        low: float | None = None,
        high: float | None = None,
        rewards: str | None = None,
        horizon: int | None = None,
    ) -> Inference:
        """The mean of every arm and its difference to `control`, with intervals that hold at every look.

        :param metric: one of the rewards' metrics in place of the reward.
        :param alpha: the chance of error, 0.05 by default. :param by: a field of contexts, for each of whose
            first `segments` values the same is told. :param until: an ISO 8601 date that was fixed before.
        :param low: with `high`, declared bounds of rewards. :param rewards: "bernoulli" or "gaussian".
        :param horizon: the number of decisions where intervals are tightest.
        """
        query = {
            "reward_field": reward_field,
            "metric": metric,
            "control": control,
            "alpha": alpha,
            "by": by,
            "segments": segments,
            "until": until,
            "low": low,
            "high": high,
            "rewards": rewards,
            "horizon": horizon,
            "format": "json",
        }
        return await self._ask(Inference, "GET", path("stats", experiment, "inference"), query=query)

    @each
    def log(self, experiment: str, *, limit: int | None = None) -> AsyncGenerator[Object, None]:
        """What the code logged with `self.log_data`; rows have no id of their own."""
        return self._rows(Object, experiment, "log", limit)

    @each
    def action_log(self, experiment: str, *, limit: int | None = None) -> AsyncGenerator[ActionRow, None]:
        """Decisions."""
        return self._rows(ActionRow, experiment, "actionlog", limit)

    @each
    def decisions(self, experiment: str, *, limit: int | None = None) -> AsyncGenerator[DecisionRow, None]:
        """Decisions, each with its rewards."""
        return self._rows(DecisionRow, experiment, "decisions", limit)

    @each
    def reward_log(self, experiment: str, *, limit: int | None = None) -> AsyncGenerator[RewardRow, None]:
        """Rewards, and default rewards."""
        return self._rows(RewardRow, experiment, "rewardlog", limit)

    @each
    def simulation_log(
        self, experiment: str, *, limit: int | None = None
    ) -> AsyncGenerator[SimulationRow, None]:
        """Draws of simulations with `log_stats`."""
        return self._rows(SimulationRow, experiment, "simulationlog", limit)

    @each
    def error_log(self, experiment: str, *, limit: int | None = None) -> AsyncGenerator[ErrorRow, None]:
        """Calls that the code failed on."""
        return self._rows(ErrorRow, experiment, "errorlog", limit)

    @each
    def hourly_theta(self, experiment: str, *, limit: int | None = None) -> AsyncGenerator[ThetaRow, None]:
        """Hourly snapshots of theta."""
        return self._rows(ThetaRow, experiment, "hourlytheta", limit)

    def _rows(self, kind: type[T], experiment: str, log: str, limit: int | None) -> AsyncGenerator[T, None]:
        return self._items(
            kind, path("stats", experiment, log), {"limit": PAGE_ROWS if limit is None else limit}
        )
