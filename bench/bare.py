"""A bare Tornado handler that answers given bytes: `python -m bench.bare PORT ANSWER`."""

from __future__ import annotations

import asyncio
import sys

import tornado.web


class Handler(tornado.web.RequestHandler):
    def initialize(self, answer: bytes) -> None:
        self.answer = answer

    def get(self, _experiment: str) -> None:
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.write(self.answer)


async def main(port: int, answer: bytes) -> None:
    application = tornado.web.Application([(r"/\w+/(\w+)", Handler, {"answer": answer})])
    application.listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2].encode()))
