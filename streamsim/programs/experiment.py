"""What policy code sees: `self`, the other experiments of its tenant, and its globals."""

from __future__ import annotations

import builtins
import random
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any, Final

import msgspec
import numpy as np

from streamsim import values
from streamsim.decisions.wire import MAX_ADDRESS, PIECES, STREAMINGBANDIT, Opened, WireRow, theta_labels
from streamsim.later import later
from streamsim.programs.theta import Theta, copied, merged
from streamsim.sandbox.worker.failures import Described, describe

MAX_NESTING: Final = 8
SOURCES: Final = {f"<{piece}>": piece for piece in PIECES}
"""Each piece by the file name that it is compiled with."""
_scipy: Final = later("scipy")


class Pieces:
    """The four compiled pieces of one experiment's code."""

    def __init__(self, experiment_id: str, code: dict[str, str], properties: dict[str, Any]) -> None:
        self.experiment_id = experiment_id
        self.properties = {
            name: Flag(value) if type(value) is bool else value for name, value in properties.items()
        }
        self.key: str | None = properties.get("key")
        self.reads_text = properties.get("compat") == STREAMINGBANDIT
        self.compiled: dict[str, CodeType] = {
            piece: compile(code.get(piece, ""), f"<{piece}>", "exec", dont_inherit=True) for piece in PIECES
        }


def compiled(experiment_id: str, code: dict[str, str], properties: dict[str, Any]) -> Pieces:
    """The pieces of an experiment. :raises Described: naming the one that does not compile."""
    try:
        return Pieces(experiment_id, code, properties)
    except BaseException as error:
        raise Described(describe(error, SOURCES)) from None


class Flag(str):
    """A boolean property: the text "True" or "False", as StreamingBandit has it, which is also true or false.

    >>> flag = Flag(True)
    >>> flag == "True", flag == True, bool(Flag(False)), Flag(False) == False
    (True, True, False, True)
    """

    __slots__ = ()

    def __new__(cls, value: object) -> Flag:
        return super().__new__(cls, bool(value))

    def __bool__(self) -> bool:
        return str.__eq__(self, "True")

    def __eq__(self, other: object) -> bool:
        return bool(self) is other if isinstance(other, bool) else str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


class PolicyBatch:
    """What all experiments of one batch share: theta, opened experiments, logs, and the globals of code."""

    def __init__(
        self,
        root: Pieces,
        theta: Theta,
        open_experiment: Callable[[str], Opened],
        ask: Callable[[tuple[str | int, ...]], Any] | None = None,
    ) -> None:
        self.theta = theta
        self._ask = ask
        self.opened = {root.experiment_id: root}
        self.root = root
        self.used: set[str] = {root.experiment_id}
        self.logs: list[tuple[int, str, dict[str, Any]]] = []
        self.call = 0
        self.depth = 0
        self._open = open_experiment
        self.namespace: dict[str, Any] = {}

    def past(self, *question: str | int) -> Any:
        """The answer to a question about what was logged. :raises RuntimeError: there is no past."""
        if self._ask is None:
            raise RuntimeError("logs and summaries are there for live calls only")
        return self._ask(question)

    def pieces(self, experiment_id: str) -> Pieces:
        pieces = self.opened.get(experiment_id)
        if pieces is None:
            opened = self._open(experiment_id)
            if opened.error:
                raise LookupError(opened.error)
            pieces = self.opened[experiment_id] = Pieces(experiment_id, opened.code, opened.properties)
        self.used.add(experiment_id)
        return pieces


class Experiment:
    """`self` of policy code: context, action, reward, theta, logs, and nested experiments.

    Follows the methods that StreamingBandit gives to policy code. `key`, `value` and `name` address theta;
    absent parts are told apart from every given one, and what is given is used as its text.
    """

    _session: PolicyBatch

    def __init__(self, exp_id: object, key: object = None) -> None:
        """Open another experiment of the same tenant, inside the same transaction.

        :param key: what `is_valid` compares with the experiment's own.
        :raises LookupError: if the tenant has no such experiment.
        """
        self._set_up(self._session.pieces(str(exp_id)))
        self.key = None if key is None else str(key)

    def _set_up(self, pieces: Pieces) -> None:
        self.exp_id = pieces.experiment_id
        self.key = pieces.key
        self.properties = pieces.properties
        self.context: Any = {}
        self.action: Any = {}
        self.reward: Any = {}
        self.propensity: float | None = None
        self.action_probabilities: dict[str, float] | None = None
        self._pieces = pieces

    def is_valid(self) -> bool:
        """Whether `key` is the experiment's: always for `self`, for others if they were opened with it."""
        return self.key is not None and self.key == self._pieces.key

    def run_context_code(self, context: Any = None) -> Any:
        """Run get_context; a copy of the context it leaves."""
        self.context = {} if context is None else context
        self._run("get_context")
        return outer_copy(self.context)

    def run_action_code(self, context: Any, action: Any = None) -> Any:
        """Run get_action on a context; a copy of the action it leaves."""
        self.context = context
        self.action = {} if action is None else action
        self._run("get_action")
        return outer_copy(self.action)

    def run_get_reward_code(self, context: Any, action: Any, reward: Any = None) -> Any:
        """Run get_reward on a context and an action; a copy of the reward it leaves."""
        self.context, self.action, self.reward = context, action, {} if reward is None else reward
        self._run("get_reward")
        return outer_copy(self.reward)

    def run_reward_code(self, context: Any, action: Any, reward: Any) -> bool:
        """Run set_reward: learn from a context, an action and its reward."""
        self.context, self.action, self.reward = context, action, reward
        self._run("set_reward")
        return True

    def get_theta(
        self, key: object = None, value: object = None, name: str = "_theta", all_float: bool = False
    ) -> dict[str, Any]:
        """Stored parameters, as a copy.

        With key and value: that dict. With a key: `{value: dict}`, or the dict itself if the key was stored
        without value. Without key: the keyless dict if it is the only one, else `{"key:value": dict}`.
        What was never stored is `{}`. In an experiment with `compat: "streamingbandit"` all values are text,
        as Redis gives them there.

        :param all_float: turn numbers and text that reads as a number into floats.
        """
        theta = self._session.theta
        name = _part(name)
        view = texts if self._pieces.reads_text else copied
        result: dict[str, Any]
        if value is not None:
            stored = theta.row((self.exp_id, name, _part(key), _part(value)))
            result = view(stored) if stored else {}
        else:
            rows = theta.group(self.exp_id, name, None if key is None else _part(key))
            if len(rows) == 1 and (only := next(iter(rows)))[3] == "" and (key is not None or only[2] == ""):
                result = view(rows[only])
            elif key is not None:
                result = {row[3]: view(data) for row, data in rows.items()}
            else:
                labels = theta_labels((row[2], row[3]) for row in rows)
                result = dict(zip(labels, map(view, rows.values()), strict=True))
        return _floats(result) if all_float else result

    def set_theta(
        self, thetas: object, key: object = None, value: object = None, name: str = "_theta"
    ) -> bool:
        """Merge the fields of a dict, or of an estimator with `get_dict()`, into the stored dict.

        :raises ValueError: for anything that is not a dict of finite JSON values.
        """
        theta = self._session.theta
        row: WireRow = (self.exp_id, _part(name), _part(key), _part(value))
        theta.write(row, merged(theta.row(row), thetas))
        return True

    def delete_theta(self, key: object = None, value: object = None, name: str = "_theta") -> int:
        """Delete one dict, all of a key, or all of a name; how many dicts there were."""
        theta = self._session.theta
        name = _part(name)
        rows: list[WireRow]
        if value is not None:
            row = (self.exp_id, name, _part(key), _part(value))
            rows = [row] if theta.row(row) is not None else []
        else:
            rows = list(theta.group(self.exp_id, name, None if key is None else _part(key)))
        for row in rows:
            theta.write(row, None)
        return len(rows)

    def log_data(self, value: Any) -> bool:
        """Append a dict to the experiment's log. NaN and infinities become null."""
        row = values.plain(value, "log_data", finite=False)
        if type(row) is not dict:
            raise values.InvalidValue("log_data", "takes a dict")
        self._session.logs.append((self._session.call, self.exp_id, row))
        return True

    def get_summary(self) -> dict[str, Any]:
        """Numbers and last dates of getaction and setreward calls, of those that are committed."""
        found: dict[str, Any] = self._session.past("summary", self.exp_id)
        return found

    def get_log_data(self, limit: int = 0) -> list[dict[str, Any]]:
        """What was logged with `log_data`, newest first. :param limit: 0, or above 10,000: 10,000 rows."""
        return self._logged("manual", limit)

    def get_getaction_log_data(self, limit: int = 0) -> list[dict[str, Any]]:
        """Decisions: context, action and date. Likewise."""
        return self._logged("action", limit)

    def get_setreward_log_data(self, limit: int = 0) -> list[dict[str, Any]]:
        """Rewards: context, action, reward and date. Likewise."""
        return self._logged("reward", limit)

    def get_simulation_log_data(self, limit: int = 0) -> list[dict[str, Any]]:
        """Draws that a simulation logged. Likewise."""
        return self._logged("simulation", limit)

    def get_hourly_theta(self, limit: int = 0) -> list[dict[str, Any]]:
        """Hourly snapshots of theta. Likewise."""
        return self._logged("theta", limit)

    def _logged(self, kind: str, limit: int) -> list[dict[str, Any]]:
        rows = self._session.past("log", self.exp_id, kind, max(int(limit), 0))
        return [{"date": date, **msgspec.json.decode(data)} for date, data in rows]

    def debug(self, obj: Any) -> None:
        """Put any value into the context as `_debug`; it is answered when the server debugs, and logged."""
        self.context["_debug"] = obj

    def _run(self, piece: str) -> None:
        session = self._session
        if session.depth >= MAX_NESTING:
            raise RecursionError(f"experiments are nested deeper than {MAX_NESTING}")
        namespace = session.namespace.copy()
        namespace["self"] = self
        session.depth += 1
        try:
            exec(self._pieces.compiled[piece], namespace)
        finally:
            session.depth -= 1
            # A namespace that holds a function is a cycle, and would keep what the code made alive.
            namespace.clear()


def outer_copy(value: Any) -> Any:
    """A copy of the outermost dict or list; a mapping as a dict."""
    if type(value) is dict:
        return value.copy()
    if isinstance(value, Mapping):
        return dict(value)
    return value.copy() if isinstance(value, list) else value


def texts(data: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a stored dict as the text that StreamingBandit's code finds, e.g. `True` for true."""
    return {name: value if type(value) is str else str(value) for name, value in data.items()}


def _part(part: object) -> str:
    """A part of a theta address as text; "" for an absent one."""
    if part is None:
        return ""
    if type(part) is str and len(part) <= MAX_ADDRESS and part.isascii() and "\0" not in part:
        return part
    text: str = values.plain(str(part), "theta address")
    if len(text) > MAX_ADDRESS or "\0" in text:
        raise values.InvalidValue("theta address", f"at most {MAX_ADDRESS} characters and no NUL")
    return text


def _floats(value: Any) -> Any:
    if type(value) is dict:
        return {key: _floats(item) for key, item in value.items()}
    if type(value) in (int, str):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return value
    return value


def namespace(experiment: type[Experiment]) -> dict[str, Any]:
    """The globals of policy code, apart from `self`. Makes `import libs.base` and old NumPy names work."""
    from streamsim import estimators

    estimators.install_aliases()
    estimators.restore_numpy_names(np)
    # Beside the builtins they are found as fast, and the dict that is made for every run stays small.
    known = {
        **vars(builtins),
        "np": np,
        "numpy": np,
        "sp": _scipy,
        "scipy": _scipy,
        "random": random,
        "Experiment": experiment,
        **estimators.namespace(),
    }
    return _roomy({"__builtins__": known, "__name__": "policy", "self": None})


def _roomy(names: dict[str, Any]) -> dict[str, Any]:
    """The same dict, of which copies take in some more names without growing: CPython keeps the room."""
    more = [f" {place}" for place in range(12)]
    roomy = {**names, **dict.fromkeys(more)}
    for _ in more:
        roomy.popitem()
    return roomy


def bound(session: PolicyBatch, base: type[Experiment] = Experiment) -> type[Experiment]:
    """The `Experiment` class of one session: what code constructs shares that session."""
    kind = type("Experiment", (base,), {"_session": session, "__doc__": Experiment.__doc__})
    session.namespace = namespace(kind)
    return kind
