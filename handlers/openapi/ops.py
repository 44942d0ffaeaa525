"""Descriptions of `handlers.ops`."""

from __future__ import annotations

from handlers import ops
from handlers.openapi.operation import TEXT, Answer, Described, Operation, one_of, record
from streamsim.config import Settings


def operations(_settings: Settings) -> Described:
    alive = record({"status": one_of("ok"), "version": TEXT})
    return {
        ops.PageHandler: {
            "get": Operation(
                "The web console, or where it was not built a page with links.",
                {200: Answer("A page.", others={"text/html": TEXT})},
            )
        },
        ops.HealthyHandler: {
            "get": Operation(
                "Whether the process runs.",
                {200: Answer("It does.", alive, {"status": "ok", "version": ops.VERSION})},
            ),
            "head": Operation("Whether the process runs.", {200: Answer("It does.")}),
        },
        ops.ReadyHandler: {
            "get": Operation(
                "Whether a decision could be committed now.",
                {200: Answer("It could.", record({"status": one_of("ready")}), {"status": "ready"})},
                errors=(503,),
            )
        },
        ops.MetricsHandler: {
            "get": Operation(
                "Counters and times.",
                {200: Answer("In the text format of Prometheus.", others={"text/plain": TEXT})},
                errors=(503,),
            )
        },
        ops.OpenApiHandler: {
            "get": Operation(
                "This document.",
                {200: Answer("OpenAPI 3.1.", record({"openapi": TEXT, "paths": {}}, closed=False))},
            )
        },
    }
