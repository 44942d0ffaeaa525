"""Data beside a model of the pysd library: series of variables that have no equation."""

from __future__ import annotations

from pathlib import Path

from streamsim.models.engines.base import LibraryObject, Refused
from streamsim.models.engines.folder import ROOT, Folder


def forget() -> None:
    """Let the library read its files anew: it remembers them by path, which those of two models may share."""
    from pysd.py_backend.data import Columns
    from pysd.py_backend.external import Excels

    Excels.clean()
    Columns.clean()


def find_series(model: LibraryObject, folder: Folder) -> None:
    """Load the variables of a model that are data, each from the first file with a column or row of its name.

    :raises Refused: naming a variable that no file has.
    """
    files = [Path(ROOT, name) for name in folder.files if name.lower().endswith((".csv", ".tab"))]
    for element in model._data_elements:
        file = next((file for file in files if _has(file, element)), None)
        if file is None:
            raise Refused(
                f"variable {element.real_name} is data without an equation: expecting a column of that name "
                "in a .csv or .tab file of the upload, with the times in the first column"
            )
        try:
            element.load_data([file])
        except ValueError as error:
            raise Refused(
                f"{file.relative_to(ROOT)}: the series of variable {element.real_name} cannot be read: "
                f"expecting numbers below a first row with Time and the name; pysd says: {error}"
            ) from None


def _has(file: Path, element: LibraryObject) -> bool:
    from pysd.py_backend.data import Columns

    try:
        columns, _ = Columns.get_columns(file, vars=[element.real_name, element.py_name])
    except ValueError:  # a table of another form, which something else is for
        return False
    return bool(columns)
