"""The core API: getaction and setreward, by GET with query parameters and by POST with a JSON body.

A POST may carry one call, or many: `contexts` or `rewards`, each with its own result or error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, ClassVar

from handlers.base import ALLOWED, EXPOSED, Access, BaseHandler
from handlers.failures import expected
from streamsim import values
from streamsim.decisions.calls import Decision, Reward
from streamsim.decisions.decisions import Decisions
from streamsim.decisions.together import End
from streamsim.errors import BadRequest, StreamsimError, TooLarge, error_body
from streamsim.services import Services
from streamsim.storage.contract.errors import StoreUnavailable

MAX_CALLS = 1_000
MAX_TEXT = 256
MAX_METRICS = 50
END_BYTES = 4096
"""Its fields, beside the one that makes a body large, stand so near to its ends."""
FIELDS = frozenset({"reward", "context", "action", "advice_id", "idempotency_key", "metrics"})
REWARD_FIELDS = FIELDS | {"key"}


class CoreHandler(BaseHandler):
    """Reads what both calls share. They are authorized by the experiment's key, not by a login."""

    access: ClassVar[Access] = "key"

    public = False
    many: ClassVar[bytes]

    @classmethod
    def refusal(
        cls, services: Services, path: Mapping[str, bytes], pieces: Sequence[bytes]
    ) -> StreamsimError | None:
        """As `BaseHandler.refusal`: a single call for which its experiment or its tenant has no room now."""
        ends = pieces[0][:END_BYTES] + b" " + pieces[-1][-END_BYTES:]
        if cls.many in ends:
            return None  # each of many calls has an answer of its own
        exp_id, size = path["exp_id"].decode("utf-8", "replace"), sum(map(len, pieces))
        return services.decisions.refusal(exp_id, size, ends)

    def prepare(self) -> Awaitable[None] | None:  # type: ignore[override]
        """The methods check the key, and Tornado answers 405 to others."""
        self.begin_trace()
        return self._learn_if_public() if self.request.headers.get("Origin") else None

    async def _learn_if_public(self) -> None:
        experiment = await self.decisions.find(self.path_kwargs["exp_id"])
        self.public = experiment is not None and bool(experiment.properties.get("public_origins"))
        self._allow_public()

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self._allow_public()

    def _allow_public(self) -> None:
        """Let a page of any origin read the answer, if the experiment says so; it sends no credentials."""
        if self.public and "Access-Control-Allow-Origin" not in self._headers:
            self.set_header("Access-Control-Allow-Origin", "*")
            self.set_header("Access-Control-Expose-Headers", EXPOSED)

    def check_trusted_origin(self, origin: str) -> bool:
        """Any: what authorizes these calls is the key, which no browser adds by itself."""
        return True

    def options(self, *args: str, **kwargs: str) -> None:
        """As for all, and for pages of any origin if the experiment says so."""
        super().options(*args, **kwargs)
        if self.public and "Access-Control-Allow-Methods" not in self._headers:
            self.allow_calls(ALLOWED)

    @property
    def decisions(self) -> Decisions:
        return self.services.decisions

    def query_json(self, name: str) -> Any:
        """A JSON value from the query string; None if it is absent or empty."""
        text = self.get_query_argument(name, "", strip=False)
        return parsed(text, name) if text else None

    def key(self, body: dict[str, Any] | None = None) -> str:
        key = self.get_query_argument("key", "") if body is None else body.get("key", "")
        if not isinstance(key, str) or not key:
            raise BadRequest("key is missing: give the experiment's key", field="key")
        return key

    async def answer_each(self, outcomes: Awaitable[Sequence[End]]) -> None:
        """Answer `{"results": [...]}`: for every call its answer, or its error, in order."""
        parts = []
        for outcome in await outcomes:
            if isinstance(outcome, bytes):
                parts.append(outcome)
            elif isinstance(outcome, StreamsimError | StoreUnavailable):
                parts.append(values.dump(error_body(expected(outcome, 500))))
            else:
                raise outcome
        self.write_json(b'{"results":[' + b",".join(parts) + b"]}")


class ActionHandler(CoreHandler):
    """`/getaction/{id}`"""

    many = b'"contexts"'

    async def get(self, exp_id: str) -> None:
        """Query: key, context? (JSON), action? (JSON)."""
        key = self.key()
        context, present = given(self.query_json("context")), self.query_json("action")
        work = self.decisions.get_action(exp_id, key, context, present=present, size=len(self.request.query))
        self.write_json(await self.while_connected(work))

    async def post(self, exp_id: str) -> None:
        """Body: key, context? and action?; or key, contexts and actions?."""
        body = self.json_body(("key", "context", "contexts", "action", "actions"))
        key = self.key(body)
        if "contexts" not in body:
            context = given(body.get("context"))
            work = self.decisions.get_action(
                exp_id, key, context, present=body.get("action"), size=len(self.request.body)
            )
            self.write_json(await self.while_connected(work))
            return
        contexts = _many(body, "contexts")
        actions = body.get("actions", [None] * len(contexts))
        if type(actions) is not list or len(actions) != len(contexts):
            raise BadRequest("actions must be a list with one action for each of contexts", field="actions")
        size = len(self.request.body) // len(contexts)
        calls = [
            Decision(given(context), present=action, size=size)
            for context, action in zip(contexts, actions, strict=True)
        ]
        await self.answer_each(self.while_connected(self.decisions.answer_all(exp_id, key, calls)))


class RewardHandler(CoreHandler):
    """`/setreward/{id}`"""

    many = b'"rewards"'

    async def get(self, exp_id: str) -> None:
        """Query: key, reward? (JSON), and advice_id or context?, action?; idempotency_key?, metrics?."""
        key = self.key()
        text = self.get_query_argument("reward", "", strip=False)
        fields: dict[str, Any] = {
            "context": self.query_json("context"),
            "action": self.query_json("action"),
            "metrics": self.query_json("metrics"),
            "advice_id": self.get_query_argument("advice_id", "") or None,
            "idempotency_key": self.get_query_argument("idempotency_key", "") or None,
        }
        if text:
            fields["reward"] = parsed(text, "reward")
        self.write_json(
            await self.decisions.set_reward(exp_id, key, reward_call(fields, len(self.request.query)))
        )

    async def post(self, exp_id: str) -> None:
        """Body: key and one reward's fields, or key and rewards."""
        body = self.json_body(REWARD_FIELDS | {"rewards"})
        key = self.key(body)
        if "rewards" not in body:
            self.write_json(
                await self.decisions.set_reward(exp_id, key, reward_call(body, len(self.request.body)))
            )
            return
        rewards = _many(body, "rewards")
        size = len(self.request.body) // len(rewards)
        calls = (_reward_or_error(fields, size) for fields in rewards)
        await self.answer_each(self.decisions.answer_all(exp_id, key, calls))


def _reward_or_error(fields: Any, size: int) -> Reward | BadRequest:
    """One of many rewards."""
    try:
        return reward_call(_object(fields, "rewards"), size)
    except BadRequest as error:
        return error


def reward_call(fields: dict[str, Any], size: int) -> Reward:
    """A reward from JSON fields, which came in so many bytes. :raises BadRequest:"""
    if not fields.keys() <= REWARD_FIELDS:
        unknown = sorted(fields.keys() - REWARD_FIELDS)
        raise BadRequest(f"no such field; a reward has {', '.join(sorted(FIELDS))}", field=unknown[0])
    advice_id = _text(fields, "advice_id")
    # An advice id stands for its context and action: what else is given for them does not count.
    own = fields if advice_id is None else {}
    return Reward(
        fields.get("reward", {}),
        context=given(own.get("context")),
        action=given(own.get("action")),
        advice_id=advice_id,
        idempotency_key=_text(fields, "idempotency_key"),
        metrics=_metrics(fields.get("metrics")),
        size=size,
    )


def _text(fields: dict[str, Any], name: str) -> str | None:
    text = fields.get(name)
    if text is None or (isinstance(text, str) and 0 < len(text) <= MAX_TEXT):
        return text
    raise BadRequest(f"{name} must be text of 1 to {MAX_TEXT} characters", field=name)


def _metrics(value: object) -> dict[str, float] | None:
    """Numbers by name. :raises BadRequest:"""
    if value is None or value == {}:
        return None
    if type(value) is not dict or len(value) > MAX_METRICS:
        raise BadRequest(f"metrics must be an object of at most {MAX_METRICS} numbers", field="metrics")
    for name, figure in value.items():
        if type(figure) not in (int, float) or not 0 < len(name) <= MAX_TEXT:
            raise BadRequest(
                f"metrics must be an object of name -> number, names of 1 to {MAX_TEXT} characters",
                field=f"metrics.{name[:64]}",
            )
    return value


def _many(body: dict[str, Any], name: str) -> list[Any]:
    """The calls of a batch. :raises BadRequest: :raises TooLarge:"""
    items = body[name]
    if type(items) is not list or not items:
        raise BadRequest(f"{name} must be a list with at least one JSON object", field=name)
    if len(items) > MAX_CALLS:
        raise TooLarge(f"{name} has at most {MAX_CALLS} elements", field=name)
    alone = sorted(FIELDS & body.keys())
    if alone:
        raise BadRequest(
            f"{alone[0]} belongs to a single call; in a batch it goes into {name}", field=alone[0]
        )
    return items


def parsed(text: str, name: str) -> Any:
    """The value of JSON text in a query. :raises BadRequest:"""
    try:
        return values.parse(text, name)
    except values.InvalidValue as error:
        raise BadRequest(str(error), field=error.where) from None


def given(value: Any) -> Any:
    """A context or an action: any JSON value. {} if absent, null, or the [] that R and PHP write."""
    return {} if value is None or value == [] else value


def _object(value: Any, name: str) -> dict[str, Any]:
    """A JSON object; an absent one is empty."""
    if value is None:
        return {}
    if type(value) is not dict:
        raise BadRequest(f"{name} must be a JSON object", field=name)
    return value


routes = [
    ("/getaction/{exp_id}", ActionHandler),
    ("/setreward/{exp_id}", RewardHandler),
]
