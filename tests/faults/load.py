"""32 clients that mix decisions, rewards, advice ids and idempotency keys, and remember what they were told.

Every call carries a tag of its own, which its log row and its place in theta show again: so each can be told
to have happened once, or not at all.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from bench.load import request

CLIENTS = 32
CALL_S = 40.0
# Decides on the number of rewards so far; each reward is counted twice, by its tag and among all.
CODE = {
    "get_action": """
self.action["n"] = self.get_theta(key="n", value="all").get("n", 0)
""",
    "set_reward": """
tag = self.reward["tag"]
seen = self.get_theta(key="seen", value=tag).get("n", 0)
self.set_theta({"n": seen + 1}, key="seen", value=tag)
count = self.get_theta(key="n", value="all").get("n", 0)
self.set_theta({"n": count + 1}, key="n", value="all")
""",
}
Answer = tuple[int, Any]


class Load:
    """What the clients send to one experiment, and what came of it.

    Tags in `acknowledged` had a 200. Those in `unknown` had no answer, or a 503 that leaves it open. All
    others were refused, and must have left no trace.

    :param ports: of the server processes; a client whose server is gone turns to the next.
    """

    def __init__(self, ports: Sequence[int], experiment_id: str, key: str, seed: int = 1) -> None:
        self._ports = ports
        self._path, self._key = experiment_id, key
        self._random = random.Random(seed)
        self._numbers = 0
        self._stopped = asyncio.Event()
        self._answered = asyncio.Event()
        self._advices: list[str] = []
        self._sent_rewards = 0
        self.acknowledged: dict[str, set[str]] = {"action": set(), "reward": set()}
        self.unknown: dict[str, set[str]] = {"action": set(), "reward": set()}
        self.statuses: Counter[tuple[int, str]] = Counter()
        self.races: list[tuple[str, str]] = []

    @property
    def answered(self) -> int:
        """Calls with a 200."""
        return sum(map(len, self.acknowledged.values()))

    async def run(self) -> None:
        """Keep all clients busy until `stop`. :raises AssertionError: an answer that breaks a promise."""
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(self._client(number))

    def stop(self) -> None:
        self._stopped.set()

    async def reach(self, more: int) -> None:
        """Wait until so many more calls were answered with 200."""
        goal = self.answered + more
        async with asyncio.timeout(120):
            while self.answered < goal:
                self._answered.clear()
                await self._answered.wait()

    async def _client(self, number: int) -> None:
        plays = [self._decide, self._reward, self._reward_with_key, self._redeem, self._race, self._twice]
        with closing(Line(self._ports, number)) as line:
            while not self._stopped.is_set():
                await self._random.choices(plays, [6, 4, 4, 4, 1, 1])[0](line)

    def _tag(self) -> str:
        self._numbers += 1
        return f"t{self._numbers}"

    async def _decide(self, line: Line) -> None:
        tag, rewards_before = self._tag(), len(self.acknowledged["reward"])
        answer = await self._call(line, "getaction", "action", tag, {"context": {"tag": tag}})
        if answer is not None and answer[0] == 200:
            # I4, and nothing out of thin air: at least what was acknowledged before it was asked.
            assert rewards_before <= answer[1]["action"]["n"] <= self._sent_rewards
            self._advices.append(answer[1]["advice_id"])

    async def _reward(self, line: Line) -> None:
        await self._learn(line, self._tag())

    async def _reward_with_key(self, line: Line) -> None:
        tag = self._tag()
        await self._until_certain(line, tag, idempotency_key=f"key of {tag}")

    async def _redeem(self, line: Line) -> None:
        if not self._advices:
            return
        advice, tag = self._advices.pop(), self._tag()
        fields = {"advice_id": advice}
        if self._random.random() < 0.5:
            fields["idempotency_key"] = f"key of {tag}"
        await self._until_certain(line, tag, **fields)

    async def _race(self, line: Line) -> None:
        """One advice id, two rewards at once by way of two processes: at most one counts."""
        if not self._advices:
            return
        advice = self._advices.pop()
        tags = self._tag(), self._tag()
        self.races.append(tags)
        with closing(Line(self._ports, line.at + 1)) as other:
            pairs = zip((line, other), tags, strict=True)
            ends = await asyncio.gather(*(self._learn(way, tag, advice_id=advice) for way, tag in pairs))
        assert [end[0] for end in ends if end is not None].count(200) <= 1

    async def _twice(self, line: Line) -> None:
        """One reward under one key, twice at once by way of two processes: it counts once."""
        tag = self._tag()
        with closing(Line(self._ports, line.at + 1)) as other:
            ways = (line, other)
            await asyncio.gather(*(self._learn(way, tag, idempotency_key=f"key of {tag}") for way in ways))

    async def _until_certain(self, line: Line, tag: str, **fields: str) -> None:
        """Send the same reward until it is known what became of it."""
        first = True
        while True:
            answer = await self._learn(line, tag, **fields)
            if answer is not None and answer[0] != 503:
                if not first and answer[0] == 409 and "idempotency_key" not in fields:
                    # The advice was redeemed by an attempt of ours whose answer was lost.
                    self.unknown["reward"].discard(tag)
                    self.acknowledged["reward"].add(tag)
                return
            first = False

    async def _learn(self, line: Line, tag: str, **fields: str) -> Answer | None:
        self._sent_rewards += 1
        return await self._call(line, "setreward", "reward", tag, {"reward": {"tag": tag}, **fields})

    async def _call(self, line: Line, call: str, kind: str, tag: str, body: dict[str, Any]) -> Answer | None:
        payload = json.dumps({"key": self._key, **body}).encode()
        answer = await line.send(request("POST", f"/{call}/{self._path}", payload))
        status, code = (0, "") if answer is None else (answer[0], _code(answer))
        self.statuses[status, code] += 1
        if status == 200:
            self.acknowledged[kind].add(tag)
            self.unknown[kind].discard(tag)
            self._answered.set()
        elif status in (0, 503):
            self.unknown[kind].add(tag)
        return answer


class Line:
    """A keep-alive connection to one of several servers, and to the next one when that is gone."""

    def __init__(self, ports: Sequence[int], at: int) -> None:
        self._ports = ports
        self.at = at
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, message: bytes) -> Answer | None:
        """The answer; None if the message was sent and none came."""
        while self._streams is None:
            try:
                self._streams = await asyncio.open_connection(
                    "127.0.0.1", self._ports[self.at % len(self._ports)]
                )
            except OSError:
                self.at += 1
                await asyncio.sleep(0.01)
        reader, writer = self._streams
        try:
            async with asyncio.timeout(CALL_S):
                writer.write(message)
                await writer.drain()
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
                return int(head[9:12]), json.loads(await reader.readexactly(length))
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            self.close()
            self.at += 1
            return None

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _code(answer: Answer) -> str:
    error = answer[1].get("error")
    return "" if error is None else str(error["code"])
