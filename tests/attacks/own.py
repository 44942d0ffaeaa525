"""Attacks of our own, on what the corpus cannot know: the frames, theta, nested experiments, the clock.

The form is that of `corpus.json`, and `asks`: the host's answers have the hard limit once more. `B_id` is
another tenant's experiment.
"""

from __future__ import annotations

from typing import Any

# What code in the worker can find: its own channel, and with it the nonce of the exchange.
FORGE = """
import gc, os, time
from streamsim.sandbox import wire
t = self.context['t']; B = t['B_id']; own = self.exp_id
ch = next(o for o in gc.get_objects() if type(o).__name__ == 'Channel')
def send(kind, sequence=0, body=None):
    os.write(3, wire.encode(kind, ch._nonce, sequence, body))
def done(outcomes=([None, {'v': 'FORGED'}],), used=(), reads=(), writes=(), logs=()):
    text = wire.to_text([list(outcomes), list(used), list(reads), list(writes), list(logs)])
    for mark, forged in ((b'"<nan>"', b'NaN'), (b'"<infinity>"', b'1e999'), (b'<surrogate>', b'\\\\ud800')):
        text = text.replace(mark, forged)
    send('done', 0, text)
"""
LEFT = """
import _signal
def later(*_):
    try: os.write(3, left)
    except OSError: pass
_signal.signal(14, later)
_signal.setitimer(0, 0.1)
"""
NEVER = "Refused; the other tenant's theta, logs and answers stay as they are."
ONCE = "At most one valid answer, to this call alone; the process is ended."
BOUNDED = "An error of this call in bounded time; the host stays as it is."


def _attack(name: str, code: str, must: str, expect: str, forge: bool = False, **more: Any) -> dict[str, Any]:
    code = FORGE + code if forge else code
    return {"id": f"own-{name}", "group": "own", "code": code, "must": must, "expect": expect.split(), **more}


OWN = [
    # Another tenant's experiment, asked for politely and by forged questions.
    _attack(
        "nested-foreign",
        "e = Experiment(self.context['t']['B_id'])\nself.action['pwned'] = e.get_theta(key='secret')",
        NEVER,
        "error",
    ),
    _attack("ask-open-foreign", "self.action['x'] = ch.ask(['open', B])", NEVER, "ok", forge=True),
    _attack(
        "ask-theta-foreign",
        "self.action['pwned'] = str(ch.ask(['theta', B, '_theta', 'secret', None, 0]))",
        NEVER,
        "crash",
        forge=True,
    ),
    _attack(
        "patch-own-id",
        "self.exp_id = self.context['t']['B_id']\nself.action['pwned'] = self.get_theta(key='secret')",
        NEVER,
        "crash error",
    ),
    _attack(
        "write-by-patched-id",
        "self.exp_id = self.context['t']['B_id']\n"
        "try: self.set_theta({'token': 'FORGED'}, key='secret')\n"
        "except Exception: pass",
        NEVER,
        "crash error",
    ),
    _attack(
        "log-by-patched-id",
        "self.exp_id = self.context['t']['B_id']\nself.log_data({'v': 'FORGED'})",
        NEVER,
        "crash error",
    ),
    *(
        _attack(
            f"ask-{name}", f"self.action['x'] = str(ch.ask({question}))", NEVER, "ok crash error", forge=True
        )
        for name, question in {
            "nothing": "None",
            "no-kind": "['secrets']",
            "numbers": "[1, 2, 3]",
            "deep": "wire.msgspec.Raw(b'\\x91' * 100000 + b'\\xc0')",
            "bad-text": "wire.msgspec.Raw(b'\\x92\\xa4open\\xa2\\xff\\xfe')",
            "long-id": "['open', 'x' * 1000000]",
            "nul-id": "['open', '\\0']",
            "nul-theta": "['theta', own, '\\0', None, None, 0]",
            "value-without-key": "['theta', own, '_theta', None, 'x', 0]",
        }.items()
    ),
    # Forged results.
    *(
        _attack(f"done-{name}", f"done({effects})\ntime.sleep(0.05)", must, expect, forge=True)
        for name, effects, must, expect in (
            ("foreign-write", "writes=[[B, '_theta', 'secret', '', {'token': 'FORGED'}]]", NEVER, "crash"),
            ("foreign-delete", "writes=[[B, '_theta', 'secret', '', None]]", NEVER, "crash"),
            ("foreign-read", "reads=[[B, '_theta', 'secret', None, 1]]", NEVER, "crash"),
            ("foreign-log", "logs=[[0, B, {'v': 'FORGED'}]]", NEVER, "crash"),
            ("foreign-use", "used=[B]", NEVER, "crash"),
            ("negative-version", "reads=[[own, '_theta', None, None, -5]]", BOUNDED, "crash"),
            ("nul-address", "writes=[[own, '_theta', '\\0', '', {}]]", BOUNDED, "crash"),
            ("long-address", "writes=[[own, '_theta', 'x' * 10000, '', {}]]", BOUNDED, "crash"),
            ("nan-theta", "writes=[[own, '_theta', 'x', '', {'a': '<nan>'}]]", BOUNDED, "crash"),
            ("many-logs", "logs=[[0, own, {}]] * 20000", BOUNDED, "crash"),
            ("log-of-no-call", "logs=[[7, own, {}]]", BOUNDED, "crash"),
            ("no-outcome", "outcomes=[]", ONCE, "crash"),
            ("two-outcomes", "outcomes=[[None, {}], [None, {'v': 'FORGED'}]]", ONCE, "crash"),
            ("no-action", "outcomes=[[None, None]]", BOUNDED, "reject crash"),
            ("nan-action", "outcomes=[[None, {'x': '<infinity>'}]]", BOUNDED, "reject crash"),
            ("half-a-surrogate", "outcomes=[[None, {'x': '<surrogate>'}]]", BOUNDED, "reject crash"),
            ("integer-action", "outcomes=[[None, {'x': 2**64 - 1}]]", BOUNDED, "reject crash"),
            (
                "deep-action",
                "outcomes=[[None, {'x': eval('[' * 90 + ']' * 90)}]]",
                BOUNDED,
                "reject crash",
            ),
            ("context-of-no-dict", "outcomes=[[None, {}, 7]]", BOUNDED, "ok crash"),
            ("nan-propensity", "outcomes=[[None, {}, None, '<nan>']]", BOUNDED, "reject crash"),
            (
                "evil-failure",
                "outcomes=[[{'kind': 'exception', 'type': '\\x1b[2J' * 9999, 'line': -7,"
                " 'message': '\\r\\n' + 'x' * 3000000, 'piece': '/etc/passwd' * 999}]]",
                BOUNDED,
                "error crash",
            ),
        )
    ),
    _attack(
        "failed-frame",
        "send('failed', 0, {'kind': 'memory', 'type': '\\x1b', 'message': '\\n' * 9999})\ntime.sleep(0.05)",
        BOUNDED,
        "memory crash",
        forge=True,
    ),
    # Keys whose hashes collide, where keys may be more than text.
    _attack(
        "array-keys",
        "import itertools, struct\n"
        "keys = [b'\\x9d' + bytes(key) for key in itertools.product(b'\\xff\\xfe', repeat=13)]\n"
        "map = b'\\xde' + struct.pack('>H', len(keys)) + b''.join(key + b'\\x01' for key in keys)\n"
        "send('done', 0, [[[None, {'x': wire.msgspec.Raw(map)}]], [], [], [], []])\ntime.sleep(0.05)",
        BOUNDED,
        "crash",
        forge=True,
    ),
    _attack("two-answers", "done(); done()", ONCE, "ok crash", forge=True),
    _attack("answer-and-byte", "done(); os.write(3, b'x')", ONCE, "ok crash", forge=True),
    _attack("answer-and-exit", "done(); os._exit(0)", ONCE, "ok crash", forge=True),
    _attack(
        "half-answer-and-exit", "os.write(3, b'\\0\\0\\0\\x50half'); os._exit(0)", ONCE, "crash", forge=True
    ),
    _attack("call-frame", "send('call', 0, [])", ONCE, "crash", forge=True),
    _attack("old-nonce", "ch._nonce = bytes(16); done()", ONCE, "crash", forge=True),
    _attack("steal-request", "self.action['stolen'] = os.read(3, 65536)", ONCE, "timeout", forge=True),
    _attack("bytes-when-idle", "left = b'x'" + LEFT, ONCE, "ok", forge=True, after=0.4),
    _attack(
        "answer-when-idle",
        "left = wire.encode('done', ch._nonce, 0, b'[[[null, {\"v\": \"FORGED\"}]], [], [], [], []]')" + LEFT,
        ONCE,
        "ok",
        forge=True,
        after=0.4,
    ),
    # More time than a call has.
    _attack(
        "progress-flood", "n = 0\nwhile True:\n    n += 1; send('progress', n)", BOUNDED, "crash", forge=True
    ),
    _attack("progress-for-time", "send('progress', 1)\nwhile True: pass", BOUNDED, "timeout", forge=True),
    _attack(
        "clock-patched",
        "ch.clock._cpu_s = ch.clock._wall_s = 1e9\nwhile True: pass",
        BOUNDED,
        "timeout",
        forge=True,
    ),
    _attack("clock-stopped", "ch.clock.stop()\nwhile True: pass", BOUNDED, "timeout", forge=True),
    _attack(
        "timeout-swallowed",
        "while True:\n    try:\n        while True:\n            pass\n"
        "    except BaseException:\n        pass",
        BOUNDED,
        "timeout",
    ),
    _attack(
        "stop-self",
        "import ctypes, os\nctypes.CDLL(None).syscall(234, os.getpid(), os.getpid(), 19)",
        BOUNDED,
        "timeout",
    ),
    _attack(
        "ask-for-time",
        "while True: ch.ask(['theta', own, 'x', 'y', None, 0])",
        BOUNDED,
        "error timeout",
        forge=True,
        asks=True,
    ),
    _attack(
        "ask-flood",
        "while True:\n    ch._budget = 9\n    ch.ask(['theta', own, 'x', 'y', None, 0])",
        BOUNDED,
        "crash timeout",
        forge=True,
        asks=True,
    ),
    _attack(
        "ask-without-listening",
        "n = 0\nwhile True:\n    n += 1; send('ask', n, ['open', own])",
        BOUNDED,
        "crash",
        forge=True,
    ),
    _attack(
        "open-flood",
        "while True:\n    try: Experiment(self.context['t']['B_id'])\n    except LookupError: pass",
        BOUNDED,
        "error timeout",
        asks=True,
    ),
    _attack("nesting", "Experiment(self.exp_id).run_action_code(self.context)", BOUNDED, "error"),
    # More than a result may hold.
    _attack(
        "theta-flood",
        "for n in range(10**6): self.set_theta({'x': n}, key=str(n))",
        BOUNDED,
        "reject error timeout crash memory",
        asks=True,
    ),
    _attack(
        "theta-bulk",
        "for n in range(6000): self.set_theta({'x': 'a' * 1000}, key=str(n))",
        BOUNDED,
        "reject error timeout",
        asks=True,
    ),
    _attack("theta-row", "self.set_theta({'x': 'a' * (3 << 20)})", BOUNDED, "reject error ok"),
    _attack("log-flood", "while True: self.log_data({'x': 1})", BOUNDED, "reject error timeout"),
    _attack("log-bulk", "for n in range(9): self.log_data({'x': 'a' * (1 << 20)})", BOUNDED, "reject error"),
    _attack("answer-of-a-frame", "self.action['x'] = 'a' * ((4 << 20) - 200)", BOUNDED, "reject error ok"),
    _attack("answer-above-a-frame", "self.action['x'] = 'a' * (5 << 20)", BOUNDED, "reject error"),
    _attack("debug-bulk", "self.debug('a' * (3 << 20))", BOUNDED, "reject error ok"),
    # The program's own tools turned against it.
    _attack(
        "describe-patched",
        "import streamsim.programs.policy as p\np.errors.describe = lambda *a: 7\nraise ValueError('x')",
        BOUNDED,
        "error crash",
    ),
    _attack("encode-patched", "wire.encode = lambda *a: b''", BOUNDED, "ok timeout crash", forge=True),
    _attack("channel-patched", "ch.finish = lambda *a: None", BOUNDED, "ok timeout crash", forge=True),
    _attack("exit-hook", "import os, sys\nsys.exitfunc = os.abort\nraise SystemExit", BOUNDED, "error"),
    _attack(
        "recursion-in-str", "class E(Exception):\n def __str__(s): return str(s)\nraise E", BOUNDED, "error"
    ),
    _attack("segv", "import faulthandler\nfaulthandler._sigsegv()", BOUNDED, "crash error"),
    _attack(
        "fault-thread",
        "import faulthandler\nfaulthandler.dump_traceback_later(1, exit=True)\nself.action['pwned'] = 1",
        BOUNDED,
        "error",
    ),
    _attack(
        "kill-every-number",
        "import os\nfor p in range(-5, 3000):\n    try: os.kill(p, 0); self.action['pwned'] = p\n"
        "    except OSError: pass",
        NEVER,
        "ok error",
    ),
    _attack(
        "syscalls-with-high-bits",
        "import ctypes\nL = ctypes.CDLL(None)\n"
        "for n in (41, 57, 101, 435):\n    for high in (1 << 32, 0x40000000):\n"
        "        if L.syscall(ctypes.c_ulong(n | high), 2, 1, 0) >= 0: self.action['pwned'] = n",
        NEVER,
        "ok crash",
    ),
]
