"""getaction and setreward. They need no login, but the experiment's key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypedDict, TypeVar
from uuid import uuid4

from streamsim_client.answers import Decision, Reward, Rewarded
from streamsim_client.errors import ServerError, of_element
from streamsim_client.groups import Group, S, call, given, path
from streamsim_client.reading import checked
from streamsim_client.values import Json

T = TypeVar("T")


class _Results(TypedDict):
    results: list[Json]


class Decisions(Group[S]):
    """`client.decisions`. `experiment` is an id, `key` its secret; a wrong one raises Unauthorized.

    Contexts, actions and rewards are whatever JSON the experiment's code takes and gives.

    >>> client.decisions.get_action(ID, KEY, {"visitor": 7})
    {'action': {'arm': 'a'}}
    >>> client.decisions.set_rewards(ID, KEY, [{"reward": 1, "action": {"arm": "a"}}])
    [{'status': 'success'}]
    """

    @call
    async def get_action(
        self,
        experiment: str,
        key: str,
        context: Mapping[str, object] | None = None,
        *,
        action: object = None,
    ) -> Decision:
        """Decide: `action`, and `advice_id` if the experiment gives them. The decision is logged.

        A decision that was sent is not sent again, even if its answer is lost: it may be in the log, and a
        second one would be another decision, with another advice id. Only what the server cannot have begun
        is retried: no connection was made, or it was turned away with 429.

        :param action: of your present system, for an experiment in the shadow, which answers it.
        :raises Unprocessable: the policy's code failed; `detail` has piece and line. :raises CodeTimeout:
        """
        body = {"key": key, **given(context=context, action=action)}
        return await self._ask(Decision, "POST", path("getaction", experiment), body=body, repeat="unsent")

    @call
    async def get_actions(
        self,
        experiment: str,
        key: str,
        contexts: Iterable[Mapping[str, object]],
        *,
        actions: Iterable[object] | None = None,
    ) -> list[Decision | ServerError]:
        """Decide for up to 1,000 contexts in one request: for each, in order, its decision or its error.

        Sent again as `get_action` is. :param actions: as there, one for each context.
        :raises BadRequest: no context, or one that is no object.
        """
        some = None if actions is None else list(actions)
        body = {"key": key, "contexts": list(contexts), **given(actions=some)}
        where = path("getaction", experiment)
        answer = await self._ask(_Results, "POST", where, body=body, repeat="unsent")
        return _each(answer["results"], Decision)

    @call
    async def set_reward(
        self,
        experiment: str,
        key: str,
        reward: object,
        *,
        context: Mapping[str, object] | None = None,
        action: Mapping[str, object] | None = None,
        advice_id: str | None = None,
        idempotency_key: str | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> Rewarded:
        """Learn from a reward, an object or a number, for an action in a context or for an advice id.

        It goes with an idempotency key, by which the server applies it once however often it is sent; so it
        is retried like a read.

        :param metrics: other numbers about the same decision, by name, for inference and guardrails.
        :param idempotency_key: by default one is drawn for this call. With one of your own a call that failed
            for good can be repeated later, e.g. by another process.
        :raises NotFound: an unknown advice id. :raises Conflict: it was redeemed.
        :raises Unprocessable: the policy's code failed, or the idempotency key came with another reward.
        """
        body = given(
            context=context,
            action=action,
            advice_id=advice_id,
            idempotency_key=idempotency_key or uuid4().hex,
            metrics=metrics,
        )
        body |= {"key": key, "reward": reward}
        return await self._ask(Rewarded, "POST", path("setreward", experiment), body=body, repeat="safe")

    @call
    async def set_rewards(
        self, experiment: str, key: str, rewards: Iterable[Reward]
    ) -> list[Rewarded | ServerError]:
        """Learn from up to 1,000 rewards in one request: for each, in order, the answer or the error.

        Each gets an idempotency key if it has none, so that the request can be retried.
        """
        named = [{"idempotency_key": uuid4().hex, **reward} for reward in rewards]
        where = path("setreward", experiment)
        body = {"key": key, "rewards": named}
        answer = await self._ask(_Results, "POST", where, body=body, repeat="safe")
        return _each(answer["results"], Rewarded)


def _each(results: list[Json], kind: type[T]) -> list[T | ServerError]:
    """Results with their errors as exceptions, which are not raised."""
    return [of_element(one["error"]) if "error" in one else checked(one, kind) for one in results]
