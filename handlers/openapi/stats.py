"""Descriptions of `handlers.stats`."""

from __future__ import annotations

from typing import Any, Final, get_args

from handlers import stats
from handlers.openapi.operation import (
    ANY,
    BOOLEAN,
    OBJECT,
    TEXT,
    Answer,
    Described,
    Operation,
    Parameter,
    Schema,
    array,
    integer,
    mapping,
    one_of,
    or_null,
    record,
    ref,
    text,
)
from handlers.openapi.parts import DATE, EXPERIMENT, PICTURES, WHEN
from streamsim.config import Settings
from streamsim.decisions.declared import Family, State
from streamsim.decisions.mechanism import Reason
from streamsim.evaluation import live_health
from streamsim.evaluation.inference import asked
from streamsim.experiments import traffic
from streamsim.storage.contract.buckets import STEP_MS

_OWN: Final = {"date": WHEN, "exp_id": TEXT}
ROW: Final = {**_OWN, "id": TEXT}
ACTION_ROW: Final = record(
    {**ROW, "context": ANY, "action": ANY},
    {
        "advice_id": TEXT,
        "propensity": ANY,
        "propensity_runs": integer(1),
        "probabilities": OBJECT,
        "decided_by": one_of(*get_args(Reason)),
        "revision": integer(1),
        "shadow": record({"action": ANY}, {"propensity": ANY, "probabilities": OBJECT}),
    },
)
_MARKS: Final = {"timeout": one_of(True), "part": one_of(True), "late": one_of(True), "parts": integer(1)}
_MARKS["metrics"] = OBJECT
DECISION_ROW: Final = record(
    {**ROW, "context": ANY, "action": ANY, "rewards": array(record({"date": WHEN, "reward": ANY}, _MARKS))},
    {**ACTION_ROW["properties"], "reward": ANY, "delay_ms": integer()},
)
REWARD_ROW: Final = record(
    {**ROW, "context": ANY, "action": ANY, "reward": ANY},
    {
        "advice_id": TEXT,
        "timeout": one_of(True),
        "part": one_of(True),
        "late": one_of(True),
        "parts": integer(1),
        "metrics": OBJECT,
    },
)
# What the code logs under these names is shown as it logged it.
MANUAL_ROW: Final = record({"date": ANY, "exp_id": ANY}, closed=False)
SIMULATION_ROW: Final = record(
    {**ROW, "simulation": TEXT, "draw": integer(0), "context": ANY, "action": ANY, "reward": ANY},
    {"theta": ANY, "propensity": ANY, "probabilities": ANY, "regret": ANY},
    closed=False,
)
ERROR_ROW: Final = record(
    {**ROW, "call": TEXT, "code": TEXT, "message": TEXT, "detail": or_null(OBJECT)}, closed=False
)
THETA_ROW: Final = record({**ROW, "theta": OBJECT}, {"named": OBJECT})


NUMBER: Final[Schema] = {"type": "number"}
_FIGURES: Final = {
    "decisions": integer(0),
    "rewards": integer(0),
    "numbers": integer(0),
    "reward_sum": NUMBER,
    "reward_squares": NUMBER,
}
_BUCKETS: Final = record(
    {
        "step": one_of(*STEP_MS),
        "from": WHEN,
        "to": WHEN,
        "since": or_null(WHEN),
        "buckets": array(
            record({"start": WHEN, **_FIGURES, "errors": integer(0), "arms": mapping(record(_FIGURES))})
        ),
    }
)


def _listed(summary: Schema) -> Schema:
    counts = array(integer(0))
    return record(
        {
            "id": TEXT,
            "name": TEXT,
            "state": one_of(*get_args(State)),
            **summary["properties"],
            "decisions": counts,
            "rewards": counts,
            "errors": integer(0),
            "mean": or_null(NUMBER),
            "low": or_null(NUMBER),
            "high": or_null(NUMBER),
        }
    )


def log(summary: str, row: Schema, example: Any) -> dict[str, Operation]:
    """The one method of a log."""
    return {
        "get": Operation(
            summary,
            {
                200: Answer(
                    "Rows, newest first. A page ends early rather than grow beyond 16 MiB.",
                    array(row),
                    example,
                    others={"text/csv": TEXT, "application/x-ndjson": TEXT},
                    headers={"Link": 'Older rows, if there may be some: <PATH>; rel="next".'},
                )
            },
            query=_rows(tuple(stats.TYPES)),
        )
    }


def _rows(forms: tuple[str, ...]) -> tuple[Parameter, ...]:
    return (
        Parameter("limit", "Rows of a page; 0: all rows.", integer(0, stats.MAX_ROWS, default=0), 1),
        Parameter("before", "A position that `Link` gave.", text()),
        Parameter("from", "The earliest date, ISO 8601; UTC unless it says another zone.", text()),
        Parameter("to", "Only earlier dates, ISO 8601.", text()),
        Parameter("format", "In place of the header `Accept`.", one_of(*forms)),
    )


def row(**logged: Any) -> dict[str, Any]:
    """A row in an example."""
    return {"date": DATE, "exp_id": EXPERIMENT, "id": "5c0a7d1e9b3f2468000000000001", **logged}


def _inference() -> tuple[Parameter, ...]:
    number = text(1, 60)
    return (
        Parameter("reward_field", "The field of the reward that is the number.", text(1, 200)),
        Parameter("metric", "One of the rewards' metrics in place of the reward.", text(1, 200)),
        Parameter("control", "The arm to compare with; by default the first by name.", text(1, 200)),
        Parameter("alpha", "The chance of error of all differences together; 0.05 by default.", number),
        Parameter("by", "A field of contexts: the same for each of its values.", text(1, 200)),
        Parameter(
            "segments",
            "Most values of it, among which alpha is divided.",
            integer(1, asked.MAX_SEGMENTS, default=asked.SEGMENTS),
        ),
        Parameter("until", "Decisions before this date alone; ISO 8601.", text()),
        Parameter("low", "All rewards are at least this, declared before; with high.", number),
        Parameter("high", "All rewards are at most this.", number),
        Parameter("rewards", "The declared distribution, for posteriors.", one_of(*get_args(Family))),
        Parameter(
            "horizon",
            "The number of decisions where the sequences are tightest.",
            integer(1, asked.MAX_HORIZON, default=asked.HORIZON),
        ),
        Parameter("format", "In place of the header `Accept`.", one_of(*stats.INFERENCE_TYPES)),
    )


def operations(_settings: Settings) -> Described:
    summary = record(
        {
            "get_action_calls": integer(0),
            "last_added_get_action": or_null(WHEN),
            "set_reward_calls": integer(0),
            "last_added_set_reward": or_null(WHEN),
        }
    )
    called = {"context": {"age": 41}, "action": {"arm": "A"}}
    counts = {"get_action_calls": 1, "set_reward_calls": 1}
    dates = {"last_added_get_action": DATE, "last_added_set_reward": DATE}
    return {
        stats.CurrentThetaHandler: {
            "get": Operation(
                "Theta as it is now.",
                {
                    200: Answer(
                        'Dicts by "key:value"; if only one is stored, without a key, that dict.',
                        OBJECT,
                        {"n": 1},
                    )
                },
                query=(Parameter("name", "A named set in place of the default one.", text()),),
            )
        },
        stats.HourlyThetaHandler: log("Hourly snapshots of theta.", THETA_ROW, []),
        stats.ManualLogHandler: log(
            "What the code logged with `self.log_data`.",
            MANUAL_ROW,
            [{"date": DATE, "exp_id": EXPERIMENT, "seen": 1}],
        ),
        stats.ActionLogHandler: log("Decisions.", ACTION_ROW, [row(**called)]),
        stats.RewardLogHandler: log("Rewards.", REWARD_ROW, [row(**called, reward=1)]),
        stats.SummaryHandler: {
            "get": Operation(
                "Numbers of calls.",
                {200: Answer("Numbers, and dates of the last calls.", summary, counts | dates)},
            )
        },
        stats.SimulationLogHandler: log("Draws that `log_stats` stored.", SIMULATION_ROW, []),
        stats.ErrorLogHandler: log("Calls that the code failed on.", ERROR_ROW, []),
        stats.DecisionsHandler: {
            "get": Operation(
                "Decisions with their rewards.",
                {
                    200: Answer(
                        "Newest first. A page ends early rather than grow beyond 16 MiB.",
                        array(DECISION_ROW),
                        [row(**called, rewards=[])],
                        others={"text/csv": TEXT, "application/x-ndjson": TEXT},
                        headers={"Link": 'Older rows, if there may be some: <PATH>; rel="next".'},
                    )
                },
                query=_rows(tuple(stats.TYPES)),
            )
        },
        stats.OverviewHandler: {
            "get": Operation(
                "Your experiments: state, counters, and the last 24 hours.",
                {
                    200: Answer(
                        "In order of id. `decisions` and `rewards` by the hour, the present one last; `mean` "
                        "of rewards in this time, with a 95 % interval for one look.",
                        array(_listed(summary)),
                        headers={"Link": 'More experiments, if there are: <PATH>; rel="next".'},
                    )
                },
                query=(
                    Parameter("limit", "Most experiments.", integer(1, stats.MAX_LISTED), 1),
                    Parameter("after", "Ids greater than this one.", text()),
                ),
            )
        },
        stats.BucketsHandler: {
            "get": Operation(
                "Decisions and rewards by minute or by hour, arm by arm.",
                {
                    200: Answer(
                        "Those buckets in which something came, oldest first. `since`: from when on calls "
                        "are counted, if not all are. What names no arm, or one beyond the 50 that a server "
                        "process met first, is in the sums alone.",
                        _BUCKETS,
                    )
                },
                query=(
                    Parameter("step", "Their length; minute by default.", one_of(*STEP_MS)),
                    Parameter(
                        "from",
                        "The earliest, ISO 8601; 3 hours or 7 days before `to` by default, "
                        f"and at most {traffic.MOST:,} buckets.",
                        text(),
                    ),
                    Parameter("to", "Only earlier ones, ISO 8601; now by default.", text()),
                ),
            )
        },
        stats.HealthHandler: {
            "get": Operation(
                "Checks of the newest decisions, rewards and errors.",
                {
                    200: Answer(
                        "Each check, with a sentence.",
                        record({"ok": BOOLEAN, "decisions": integer(0), "checks": array(ref("Check"))}),
                    )
                },
                query=(
                    Parameter(
                        "rows",
                        "Most rows of each log.",
                        integer(1, live_health.MAX_ROWS, default=live_health.DEFAULT_ROWS),
                    ),
                    Parameter("unit", "The field of contexts that names the unit.", text(1, 200)),
                ),
            )
        },
        stats.LiveHandler: {
            "get": Operation(
                "Numbers of calls and the newest decisions and rewards, as they come.",
                {
                    200: Answer(
                        "Server-sent events `live`: first with all that is told, then with what came since.",
                        others={"text/event-stream": ANY},
                    )
                },
                query=(
                    Parameter(
                        "seconds",
                        "How long events come; 0: the first alone.",
                        integer(0, stats.MAX_LIVE_S, default=0),
                        0,
                    ),
                ),
            )
        },
        stats.InferenceHandler: {
            "get": Operation(
                "The mean of every arm and its difference to a control, right at every look.",
                {
                    200: Answer(
                        "Estimates with confidence sequences, and a sentence that says what to do.",
                        ref("Inference"),
                        others=PICTURES,
                    )
                },
                query=_inference(),
            )
        },
    }
