"""A model of a cup that starts at 100 degrees and loses `rate` of its difference to the room in each step."""

TEA = """
import BPTK_Py
from BPTK_Py import Model

def bptk_factory():
    model = Model(starttime=0.0, stoptime=10.0, dt=1.0, name="tea")
    temperature = model.stock("temperature")
    cooling = model.flow("cooling")
    room = model.constant("room")
    rate = model.constant("rate")
    room.equation = 20.0
    rate.equation = 0.5
    temperature.initial_value = 100.0
    cooling.equation = rate * (temperature - room)
    temperature.equation = -cooling
    bptk = BPTK_Py.bptk()
    bptk.register_scenario_manager({"tea": {"model": model}})
    bptk.register_scenarios({"base": {}, "winter": {"constants": {"room": 10.0}}}, "tea")
    return bptk
"""
