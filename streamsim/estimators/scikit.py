"""scikit-learn models that learn one observation at a time, kept in theta."""

from __future__ import annotations

import base64
import importlib
import pickle
from collections.abc import Mapping
from typing import Any

from streamsim.estimators.stored import Floats

__all__ = ["Model", "SKLModel"]


class SKLModel:
    """A scikit-learn estimator with `partial_fit`: {picklestr}, the pickled model as base64 text.

    Needs scikit-learn, which is imported on first use. Unpickling runs whatever the text says, which is no
    more than the policy's own code may do in its sandbox.

    :param value: a stored dict; empty: a fresh model.
    :param skClass: module below `sklearn`.
    :param skMethod: class in it.
    :param params: arguments of the class for a fresh model.
    :raises ImportError: if scikit-learn is not installed. :raises AttributeError: it has no such class.
    :raises KeyError: a stored dict without `picklestr`.

    >>> model = SKLModel({}, "linear_model", "SGDClassifier", random_state=1)
    >>> model.update([[0.0], [1.0]], ["no", "yes"], classes=["no", "yes"])
    >>> again = SKLModel(model.get_dict())
    >>> again.predict([[5.0]]).tolist()
    ['yes']
    """

    def __init__(
        self,
        value: Mapping[str, Any] | None = None,
        skClass: str = "linear_model",  # noqa: N803 - StreamingBandit's names
        skMethod: str = "SGDRegressor",  # noqa: N803
        **params: Any,
    ) -> None:
        self.Model: Any
        if value:
            kept = value["picklestr"]
            self.Model = pickle.loads(base64.b64decode(kept) if isinstance(kept, str) else kept)
        else:
            self.Model = getattr(importlib.import_module(f"sklearn.{skClass}"), skMethod)(**params)

    def get_dict(self) -> dict[str, str]:
        """The state, ready for `set_theta`."""
        return {"picklestr": base64.b64encode(pickle.dumps(self.Model)).decode()}

    def get_value(self) -> Any:
        """The scikit-learn model itself."""
        return self.Model

    def update(self, X: Any, y: Any, **kwargs: Any) -> None:  # noqa: N803
        """Take in n observations.

        :param X: n rows of p features.
        :param y: n targets.
        :param kwargs: passed to `partial_fit`, e.g. `classes` for a classifier's first observations.
        """
        self.Model.partial_fit(X, y, **kwargs)

    def predict(self, X: Any) -> Floats:  # noqa: N803
        """The model's predictions for n rows of p features."""
        predictions: Floats = self.Model.predict(X)
        return predictions


Model = SKLModel
