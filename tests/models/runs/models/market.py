demand = 100
history = {"day": [1, 2, 3]}
limit = 5


def sell(count):
    global demand
    demand -= count
    return demand


class Thermostat:
    """Cannot be set above its limit."""

    def __init__(self):
        self._target = 20.0
        self.room = "kitchen"

    @property
    def target(self):
        return self._target

    @target.setter
    def target(self, value):
        self._target = min(value, 30.0)

    @property
    def fahrenheit(self):
        return self._target * 1.8 + 32

    def reset(self):
        self._target = 0
