"""The program that reads a log and estimates what a candidate would have earned on it; it runs no user code.

load      `EstimatesLoad`
request   ["text", bytes]  some more of an uploaded log
          ["rows", kind, [row, ...]]  some more rows of an own log, newest first
          ["read"] -> how many decisions the log has
          ["forget"]  the probabilities and the split
          ["split"] -> how many decisions the first half has
          ["records", first, most, bytes, replay] -> [`Record`, ...]
          ["probabilities", [arm -> probability, ...], exact]  of the next contexts
          ["answer", runs, theta, warnings] -> JSON text
          ["keep", name, runs, theta, warnings]  what this candidate would do, and go on to the next one
          ["answers"] -> JSON text, of all candidates that were kept
          ["ratio", shares] -> JSON text: the sample ratio of an uploaded log's units
result    what the request asks for, None, or `Refused`
"""

from __future__ import annotations

from typing import Any

from streamsim import values
from streamsim.errors import BadRequest, StreamsimError, TooLarge
from streamsim.evaluation import ratio
from streamsim.evaluation.estimation import Estimation
from streamsim.evaluation.wire import EstimatesLoad, Refused
from streamsim.sandbox.worker.main import Channel


class Program:
    """One evaluation."""

    loaded = None

    def __init__(self, load: Any, channel: Channel) -> None:
        self._load = EstimatesLoad(*load)
        self._estimation = Estimation(self._load)

    def handle(self, request: Any) -> object:
        word, *given = request
        estimation = self._estimation
        try:
            match word:
                case "text":
                    estimation.add_text(*given)
                case "rows":
                    estimation.add_rows(*given)
                case "probabilities":
                    estimation.add_probabilities(*given)
                case "forget":
                    estimation.forget()
                case "keep":
                    estimation.keep(*given)
                case "answers":
                    return values.dump(estimation.answers())
                case "ratio":
                    return values.dump(ratio.of_upload(estimation.text(), self._load, *given))
                case "read":
                    return estimation.read()
                case "split":
                    return estimation.split()
                case "records":
                    return estimation.records(*given)
                case _:
                    return values.dump(estimation.answer(*given))
        except (BadRequest, TooLarge) as error:
            return _refused(error)
        except MemoryError:
            return Refused(True, "so many decisions, arms and fields need too much memory", "rows")
        return None


def _refused(error: StreamsimError) -> Refused:
    return Refused(error.status == TooLarge.status, error.message, error.field, error.detail)
