"""Uploads of models in every form: any bytes, archives, forms as browsers send them."""

from __future__ import annotations

import base64
import io
import warnings
import zipfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.application import Caller
from tests.support import Answer


def binary(data: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(data).decode()}


def packed(files: dict[str, bytes], folder: str = "") -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(folder + name, data)
    return written.getvalue()


async def form(
    client: Caller, fields: dict[str, str], files: dict[str, bytes], method: str = "POST"
) -> Answer:
    """An upload as browsers and curl send forms."""
    border = uuid4().hex
    parts = [
        f'--{border}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        for name, text in fields.items()
    ]
    for name, data in files.items():
        head = f'--{border}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        parts += [head.encode(), b"Content-Type: application/octet-stream\r\n\r\n", data, b"\r\n"]
    parts.append(f"--{border}--\r\n".encode())
    path = "/models" if method == "POST" else f"/models/{fields['name']}"
    headers = {"Content-Type": f"multipart/form-data; boundary={border}"}
    return await client.request(method, path, body=b"".join(parts), headers=headers)


async def series(
    client: Caller, manager: str, equations: list[str], scenario: str = "base"
) -> dict[str, Any]:
    body = {"scenario_managers": [manager], "scenarios": [scenario], "equations": equations}
    answer = await client.post("/run", body)
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.body[manager][scenario]["equations"]
    return found


def by_pysd(folder: Path, main: str, names: list[str]) -> dict[str, dict[str, Any]]:
    """Series by the library called directly on files."""
    pysd = pytest.importorskip("pysd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = pysd.read_vensim(str(folder / main)).run(return_columns=names)
    return {
        name: {
            repr(float(time)): pytest.approx(float(value), rel=1e-9) for time, value in frame[name].items()
        }
        for name in names
    }
