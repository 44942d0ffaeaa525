"""Every setting of the service: name, type, default, range and meaning, a class for each section."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXTS = tuple[str, ...]


def _option(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    metadata = {"help": meaning, "low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class ServerSettings:
    """The HTTP server and its processes."""

    address: str = _option("127.0.0.1", "Address to listen on; 0.0.0.0 for all IPv4 interfaces.")
    port: int = _option(8080, "TCP port to listen on; 0 takes a free one.", low=0, high=65535)
    processes: int = _option(1, "Server processes that share the port.", low=1, high=256)
    max_body_bytes: int = _option(4 << 20, "Largest request body; a larger one answers 413.", low=1024)
    bodies_bytes: int = _option(
        256 << 20,
        "Bytes of bodies of all requests under way in a server process, beyond the first 64 KiB of each; "
        "half of them for one address. Beyond it 503.",
        low=1 << 20,
    )
    max_header_bytes: int = _option(
        256 << 10,
        "Largest request line with headers; bounds the context in a GET. Beyond it: 414 or 431.",
        low=1024,
    )
    drain_s: float = _option(
        30.0, "After SIGTERM, the longest wait for requests that were accepted.", low=0, high=3600
    )
    idle_connection_s: float = _option(
        300.0, "A connection without a request for this long is closed.", low=1, high=86400
    )
    debug: bool = _option(
        False, "Answers of getaction and setreward also hold the context, action and reward that were used."
    )
    cors_origins: TEXTS = _option(  # noqa: RUF009
        (), "Web origins, e.g. https://app.example.com, whose pages may call with credentials."
    )
    trusted_proxies: TEXTS = _option(  # noqa: RUF009
        (), "Addresses or networks of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto count."
    )
    access_log: bool = _option(
        False,
        "Log every request: address, user, status, method, path, time, id; those that meet a bug (500) are "
        "always logged.",
    )
    log: str = _option(
        "text",
        "Lines of the log: text, or json with an object in each.",
        choices=("text", "json"),
    )
    traces: str = _option(
        "",
        "Where an OpenTelemetry collector takes OTLP over HTTP, e.g. http://collector:4318/v1/traces: each "
        "request and the stages of its decision are told there. Empty: none. Needs streamsim[traces].",
    )
    traces_share: float = _option(1.0, "Share of the traces begun here that are told.", low=0, high=1)
    http: str = _option(
        "fast",
        "The HTTP server under the application: our own (fast), or Tornado's (tornado), which is slower.",
        choices=("fast", "tornado"),
    )
    uvloop: bool = _option(True, "Run on uvloop where it is installed, else on asyncio's own loop.")


@dataclass(frozen=True)
class LoginSettings:
    """Accounts, sessions and login attempts."""

    session_hours: int = _option(168, "Lifetime of a login session.", low=1, high=8760)
    cookie_secure: str = _option(
        "auto",
        "The cookie's Secure attribute: auto sets it on answers to https requests.",
        choices=("auto", "always", "never"),
    )
    attempts: int = _option(10, "Login attempts on a user from one address in one window.", low=1)
    address_attempts: int = _option(100, "Login attempts per client address in one window.", low=1)
    window_s: int = _option(300, "Length of a window of login attempts.", low=1, high=86400)
    password_min_bytes: int = _option(8, "Shortest new password, in bytes of UTF-8.", low=1, high=72)
    bcrypt_rounds: int = _option(12, "Cost of new password hashes; each step doubles it.", low=4, high=18)
    threads: int = _option(2, "Threads that hash passwords, apart from the event loop.", low=1, high=64)
    queue: int = _option(64, "Password checks that may wait; beyond it 429.", low=1)
    token_days: int = _option(365, "Longest lifetime of a bearer token, and the default.", low=1, high=36500)


@dataclass(frozen=True)
class StorageSettings:
    """Where everything is kept."""

    data: str = _option("data", "Folder of the service's own files, made when missing.")
    url: str = _option("", "Database as sqlite:///PATH; empty means streamsim.db in the data folder.")
    sqlite_synchronous: str = _option(
        "FULL",
        "FULL syncs every commit to disk; NORMAL may lose the last commits when the machine loses power.",
        choices=("FULL", "NORMAL"),
    )
    redis: str = _option("", "Redis URL, redis:// or rediss://; used together with storage.mongo.")
    mongo: str = _option("", "MongoDB URL, mongodb:// or mongodb+srv://; used together with storage.redis.")
    redis_prefix: str = _option(
        "streamsim", "What names of Redis keys start with; another one for each installation on one Redis."
    )
    wait_s: float = _option(
        5.0,
        "Longest wait of a call for a Redis that is away; once it has been away that long, calls answer 503 "
        "after one attempt.",
        low=0.1,
        high=60,
    )
    outbox_rows: int = _option(
        200_000,
        "Log rows of one user that may wait in Redis for MongoDB; beyond it decisions answer 503.",
        low=1,
    )
    outbox_bytes: int = _option(
        256 << 20, "Bytes of such rows that may wait; beyond it decisions answer 503.", low=1 << 20
    )


@dataclass(frozen=True)
class SandboxSettings:
    """The processes that run policy code, and the limits of one call."""

    workers: int = _option(
        32, "Live workers per server process; beyond it the least recently used idle one ends.", low=1
    )
    cpu_ms: int = _option(1000, "CPU time of one call of policy code.", low=1)
    wall_ms: int = _option(1500, "Wall-clock time of one call of policy code.", low=1)
    grace_ms: int = _option(
        500, "After wall_ms, time until a worker that does not react is killed.", low=1, high=60_000
    )
    memory_bytes: int = _option(
        256 << 20, "Memory of a worker beyond what the interpreter and its libraries take.", low=1 << 20
    )
    frame_bytes: int = _option(
        4 << 20, "Largest message to or from a worker: bounds batches, answers and theta reads.", low=64 << 10
    )
    preload: TEXTS = _option(  # noqa: RUF009
        ("sklearn.linear_model",),
        "Modules beside NumPy's and SciPy's that all sandboxed processes share from the start, if installed; "
        "code that imports others pays for it in its first call, and scikit-learn then lacks parts.",
    )
    allow_degraded: bool = _option(
        False, "Serve although the kernel lacks a sandbox layer (never for code of people you do not trust)."
    )


@dataclass(frozen=True)
class LaneSettings:
    """The queue of each active experiment."""

    batch: int = _option(64, "Most calls that run and commit together.", low=1, high=4096)
    queue: int = _option(
        2000, "Most calls that wait per experiment and server process; beyond it 429.", low=1
    )
    tenant_bytes: int = _option(
        32 << 20,
        "Bytes of calls that wait or run, of one user's experiments in a server process; beyond it 429.",
        low=1 << 20,
    )
    minute_bytes: int = _option(
        256 << 20,
        "Bytes of log rows and theta that calls of one experiment may write in a minute, per server process; "
        "then 429 until it is over.",
        low=1 << 20,
    )
    call_s: float = _option(
        30.0, "Longest time from a call's arrival to its answer; a call that waits longer gets 503.", low=0.1
    )
    idempotency_hours: int = _option(
        24, "How long the answer to an idempotency key is repeated.", low=1, high=8760
    )
    theta_rows: int = _option(
        50_000, "Theta dicts that a worker keeps cached; above it the cache starts anew.", low=100
    )


@dataclass(frozen=True)
class UpkeepSettings:
    """Periodic work; every server process takes part, each piece is claimed in the store."""

    interval_ms: int = _option(
        1000, "Pause between looks for advices past their time.", low=10, high=3_600_000
    )
    snapshot_interval_s: int = _option(
        60, "Pause between looks for experiments without this hour's theta snapshot.", low=1, high=3600
    )
    cleanup_interval_s: int = _option(60, "Pause between removals of expired records.", low=1, high=86400)
    advice_kept_hours: int = _option(
        24 * 30, "How long a redeemed or expired advice id is still known as such.", low=1
    )


@dataclass(frozen=True)
class JobSettings:
    """Jobs of clients: simulations and sweeps that take longer than a request."""

    per_user: int = _option(20, "Most unfinished jobs of one user.", low=1)
    longest_s: float = _option(21_600.0, "Longest time that a server process works on a job.", low=1)
    followers: int = _option(
        50, "Most open streams of events of jobs, per user and server process; beyond it 429.", low=1
    )
    lease_s: float = _option(
        10.0, "A job that no process has reported on for so long is taken over by another.", low=0.5
    )
    scheduler: str = _option(
        "",
        "Dask scheduler for replications and sweeps, e.g. tcp://host:8786; needs streamsim[dask]. "
        "Empty: here.",
    )


@dataclass(frozen=True)
class ModelSettings:
    """Simulation models and their runs."""

    live: int = _option(
        16, "Live processes of runs per server process; least recently used ones go, no run is lost.", low=1
    )
    runners: int = _option(
        2,
        "Processes per server process that work on whole runs and sweeps of one user; others have one more.",
        low=1,
        high=256,
    )
    cpu_ms: int = _option(10_000, "CPU time of one request to a model.", low=1)
    wall_ms: int = _option(15_000, "Wall-clock time of one request to a model.", low=1)
    memory_bytes: int = _option(512 << 20, "Memory of a model's process beyond its libraries.", low=1 << 20)
    frame_bytes: int = _option(32 << 20, "Largest answer of a model, and largest model.", low=64 << 10)
    max_bytes: int = _option(2 << 20, "Largest upload of a model, all files together.", low=1024)
    per_tenant: int = _option(200, "Most models of one user.", low=1)
    instances: int = _option(10_000, "Most live instances of one user.", low=1)
    idle_s: int = _option(600, "A run's process that nobody used for so long ends; the run stays.", low=1)
    sweep_runs: int = _option(10_000, "Most runs of one sweep.", low=1)


@dataclass(frozen=True)
class EvaluationSettings:
    """Simulations, comparisons and off-policy estimates; they run in processes of their own."""

    workers: int = _option(
        2,
        "Processes per server process for jobs of one user, as many for comparisons; others have one more.",
        low=1,
        high=256,
    )
    requests: int = _option(
        4,
        "Simulate requests and off-policy evaluations under way per server process, of one user one less, or "
        "its part while others ask too; more wait, of one user 16, then 429.",
        low=1,
        high=256,
    )
    nice: int = _option(
        19,
        "How far the processes of jobs stand back behind live decisions; those of requests, and of whole "
        "runs of models that take long, do half as far.",
        low=0,
        high=19,
    )
    spare_processors: int = _option(
        1,
        "Processors that evaluations, and tenants whose policies or models compute for long, leave to live "
        "decisions where there are more.",
        low=0,
        high=64,
    )
    draws: int = _option(100_000, "Most draws of one simulate request; a job may have more.", low=1)
    compare_draws: int = _option(
        2_000_000, "Most draws of one comparison: policies times replications times N.", low=1
    )
    request_s: float = _option(60.0, "Longest time that a request may simulate or estimate.", low=0.1)
    job_draws: int = _option(100_000_000, "Most draws of one job: replications times N.", low=1)
    log_rows: int = _option(100_000, "Most logged decisions of one off-policy evaluation.", low=1)
    log_bytes: int = _option(64 << 20, "Most bytes of one uploaded log, unpacked.", low=1024)
    runs: int = _option(
        200, "Runs of a policy that estimate a probability which its code does not tell.", low=2, high=100_000
    )


@dataclass(frozen=True)
class WebhookSettings:
    """Messages to the URLs that experiments name."""

    allow: TEXTS = _option(  # noqa: RUF009
        (),
        "Where messages may go: hosts as hooks.example.com, *.example.com or *, and networks as 10.0.0.0/8. "
        "A host whose address is private, loopback or link-local needs its network here. Empty: nowhere.",
    )
    timeout_s: float = _option(10.0, "Longest time of one attempt.", low=0.1, high=300)
    attempts: int = _option(
        15,
        "So many attempts; pauses begin with 5 s and double, up to an hour, so that 15 are about five hours.",
        low=1,
        high=100,
    )
    kept_days: int = _option(
        30, "How long messages that were delivered or failed are shown, and not sent again.", low=2, high=3650
    )
    interval_ms: int = _option(1000, "Pause between looks for messages that are due.", low=10, high=3_600_000)
    check_s: int = _option(
        300,
        "Pause between looks for drift and winners, of each experiment whose webhooks are told of them.",
        low=1,
        high=86400,
    )


@dataclass(frozen=True)
class CompatSettings:
    """Answers as older services gave them."""

    bptk_status: str = _option(
        "standard",
        "Status of a client's error at the scenario endpoints; legacy answers 500 as BptkServer does.",
        choices=("standard", "legacy"),
    )
    dates: str = _option(
        "standard",
        "Dates in answers of the bandit endpoints; streamingbandit leaves out the Z of UTC.",
        choices=("standard", "streamingbandit"),
    )


@dataclass(frozen=True)
class Settings:
    """All sections. Immutable; derive a changed copy with `dataclasses.replace`, or load again."""

    server: ServerSettings = ServerSettings()
    login: LoginSettings = LoginSettings()
    storage: StorageSettings = StorageSettings()
    sandbox: SandboxSettings = SandboxSettings()
    lane: LaneSettings = LaneSettings()
    upkeep: UpkeepSettings = UpkeepSettings()
    jobs: JobSettings = JobSettings()
    models: ModelSettings = ModelSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    webhooks: WebhookSettings = WebhookSettings()
    compat: CompatSettings = CompatSettings()

    def storage_url(self) -> str:
        """`storage.url` with its default filled in."""
        return self.storage.url or f"sqlite:///{Path(self.storage.data) / 'streamsim.db'}"
