"""The tests. Their processes take linear algebra's kernels from the processor, as workers of the sandbox do,
whose environment is a constant: else what both compute would differ in its last digits."""

from __future__ import annotations

import os

os.environ.pop("OPENBLAS_CORETYPE", None)
