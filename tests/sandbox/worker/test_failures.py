"""Error records of user code (I7), also of exceptions that lie."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from streamsim import values
from streamsim.sandbox.wire import Failure, clean, cleaned
from streamsim.sandbox.worker.clock import SoftTimeout
from streamsim.sandbox.worker.failures import Described, describe

PIECES = {"<get_action>": "get_action", "<set_reward>": "set_reward"}


def failure_of(code: str, file: str = "<get_action>", **names: Any) -> Failure:
    try:
        exec(compile(code, file, "exec", dont_inherit=True), names)
    except BaseException as error:
        return describe(error, PIECES)
    raise AssertionError("it did not fail")


def test_the_record_names_piece_line_type_and_message() -> None:
    assert failure_of("x = 1\n\nx / 0") == Failure(
        "exception", "ZeroDivisionError", "division by zero", "get_action", 3
    )


def test_the_line_is_the_codes_own_also_when_a_library_raises() -> None:
    failure = failure_of("import json\ndef f():\n    json.loads('{')\nf()", "<set_reward>")
    assert (failure.type, failure.piece, failure.line) == ("JSONDecodeError", "set_reward", 3)


@pytest.mark.parametrize(
    ("code", "kind", "line"),
    [
        ("a = 1\ndef (", "syntax", 2),
        ("\n  x", "syntax", 2),
        ("x = 'abc", "syntax", 1),
        ("\nraise MemoryError", "memory", 2),
        ("\nraise SoftTimeout('late')", "timeout", 2),
        ("\nraise InvalidValue('key', 'must be so')", "exception", 2),
        ("\n\neval('1 +')", "exception", 3),
        ("raise KeyboardInterrupt", "exception", 1),
        ("raise GeneratorExit", "exception", 1),
    ],
)
def test_kinds(code: str, kind: str, line: int) -> None:
    failure = failure_of(code, SoftTimeout=SoftTimeout, InvalidValue=values.InvalidValue)
    assert (failure.kind, failure.piece, failure.line) == (kind, "get_action", line)


def test_what_the_code_left_is_rejected_after_it_ran() -> None:
    failure = describe(values.InvalidValue("action.x", "must be so"), PIECES)
    assert (failure.kind, failure.message, failure.line) == ("rejected", "action.x: must be so", 0)


def test_a_program_may_answer_a_record_of_its_own() -> None:
    own = Failure("rejected", "T", "m", "get_reward", 7)
    assert describe(Described(own), PIECES) is own


HOSTILE = {
    "lying text": "class E(Exception):\n def __str__(s): raise SystemExit\nraise E('what')",
    "text of no text": "class E(Exception):\n def __str__(s): return 7\nraise E('what')",
    "text subclass": """
class S(str):
 def isprintable(s): raise SystemExit
 def replace(s, *a): raise SystemExit
 def __len__(s): return -1
 def __getitem__(s, i): raise SystemExit
class E(Exception):
 def __str__(s): return S('what')
raise E""",
    "metaclass name": """
class M(type):
 @property
 def __name__(c): raise SystemExit
class E(Exception, metaclass=M): pass
raise E('what')""",
    "lying attributes": """
class E(Exception):
 @property
 def __traceback__(s): raise SystemExit
 @property
 def args(s): raise SystemExit
 @property
 def __class__(s): raise SystemExit
 def __getattribute__(s, n): raise SystemExit
raise E('what')""",
    "cause loop": "a = ValueError('what'); b = ValueError('b'); a.__cause__ = b; b.__cause__ = a; raise a",
    "lying syntax error": """
class S(str):
 def __hash__(s): raise SystemExit
 def __eq__(s, o): raise SystemExit
e = SyntaxError('what', (S('<get_action>'), 10**30, 1, 'x'))
e.lineno = S('x')
raise e""",
    "evil argument": """
class A:
 def __str__(s): raise SystemExit
 __repr__ = __str__
raise ValueError(A())""",
    "frame of a lying name": """
class S(str):
 def __hash__(s): raise SystemExit
def f(): raise ValueError('what')
f.__code__ = f.__code__.replace(co_filename=S('<get_action>'))
f()""",
    "deep recursion": "def f(): f()\nf()",
    "group": "raise ExceptionGroup('what', [ValueError(i) for i in range(1000)])",
}


@pytest.mark.parametrize("code", HOSTILE.values(), ids=HOSTILE)
def test_no_exception_breaks_its_description(code: str) -> None:
    failure = failure_of(code)
    assert type(failure.message) is str
    assert len(failure.message) <= 2000
    assert failure.piece == "get_action"
    assert failure.line >= 1
    assert failure.type.isprintable()


def test_text_is_bounded_and_neutralised() -> None:
    name = "<b>\x1b[2J\u202e"
    failure = failure_of(
        "raise type(name, (Exception,), {})(text)", name=name, text="\r\nSet-Cookie: a\x00\ud800"
    )
    assert failure.message == "  Set-Cookie: a\ufffd\ufffd"
    assert failure.type == "<b>\ufffd[2J\ufffd"
    assert len(failure_of("raise ValueError('x' * 10**7)").message) == 2000
    long = failure_of("raise type('E' * 5000, (Exception,), {})")
    assert len(long.type) == 200


def test_no_path_of_the_host_is_told() -> None:
    failure = failure_of("from json import nothing")
    assert "cannot import name 'nothing' from 'json'" in failure.message
    assert sys.prefix not in failure.message
    assert "/lib/" not in failure.message
    failure = failure_of("raise ValueError(prefix + '/bin/x')", prefix=sys.base_prefix)
    assert failure.message == "<python>/bin/x"


def test_memory_that_the_code_held_is_released() -> None:
    released = []

    class Held:
        def __del__(self) -> None:
            released.append(True)

    try:
        exec(
            compile("def f(held):\n    raise MemoryError\nf(make())", "<get_action>", "exec"), {"make": Held}
        )
    except MemoryError as error:
        failure = describe(error, PIECES)
        assert released == [True]
        assert (failure.kind, failure.message, failure.line) == ("memory", "out of memory", 2)


def test_a_record_from_a_worker_is_cleaned() -> None:
    dirty = Failure("exception", "T" * 999, "\x1b" + "m" * 9999, "p" * 999, -5)
    clean_one = cleaned(dirty)
    assert (len(clean_one.type), len(clean_one.message), len(clean_one.piece)) == (200, 2000, 200)
    assert clean_one.message.isprintable()
    assert clean_one.line == 0
    good = Failure("exception", "T", "m", "get_action", 3)
    assert cleaned(good) == good
    assert clean("tab\tnew\nline") == "tab new line"
