"""XMILE text to Python text with bptk-py's compiler, without a file."""

from __future__ import annotations

import io
import logging

from streamsim.models.engines.base import LibraryObject, Refused


def translate(library: LibraryObject, text: str) -> tuple[str, list[str]]:
    """The Python source of the class `simulation_model` that bptk-py makes of XMILE, and its warnings.

    :raises Refused: the compiler is not installed.
    """
    try:
        from BPTK_Py.sdcompiler import compile as compiler
        from BPTK_Py.sdcompiler.parsers.xmile import xmile as parser
    except ImportError as error:
        raise Refused(
            f"XMILE files need bptk-py's compiler: pip install 'bptk-py[xmile]' ({error})"
        ) from None
    written = _Kept()
    # The compiler opens its source and its destination by name.
    parser.open = lambda *_args, **_named: io.StringIO(text)
    compiler.open = lambda *_args, **_named: written
    said = _Heard()
    logging.getLogger().addHandler(said)
    try:
        compiler.compile_xmile("model", "model.py", "py")
    finally:
        del parser.open, compiler.open
        logging.getLogger().removeHandler(said)
    return written.text, said.texts


class _Heard(logging.Handler):
    """What the compiler logs, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = f"bptk-py: {record.getMessage()}"[:500]
        if text not in self.texts and len(self.texts) < 50:
            self.texts.append(text)


class _Kept(io.StringIO):
    text = ""

    def close(self) -> None:
        self.text = self.getvalue()
        super().close()
