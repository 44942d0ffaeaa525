"""An epidemic with susceptible, infected and recovered people (SIR), in the SD DSL of bptk-py.

Kermack & McKendrick (1927), integrated with Euler steps of a quarter of a day. Time unit: days. The number of
contacts can change over time through the table `contact_reduction`.
"""

import BPTK_Py
from BPTK_Py import Model
from BPTK_Py import sd_functions as sd

MANAGER = "sir_epidemic"


def epidemic() -> Model:
    model = Model(starttime=0.0, stoptime=120.0, dt=0.25, name="sir")

    susceptible = model.stock("susceptible")
    infected = model.stock("infected")
    recovered = model.stock("recovered")
    infection = model.flow("infection")
    recovery = model.flow("recovery")
    population = model.converter("population")
    contacts = model.converter("contacts")

    initially_infected = model.constant("initially_infected")
    contact_rate = model.constant("contact_rate")
    infectivity = model.constant("infectivity")
    duration = model.constant("duration")
    initially_infected.equation = 10.0
    contact_rate.equation = 6.0
    infectivity.equation = 0.05
    duration.equation = 7.0

    model.points["contact_reduction"] = [[0.0, 1.0], [30.0, 1.0], [40.0, 0.5], [120.0, 0.5]]
    contacts.equation = contact_rate * sd.lookup(sd.time(), "contact_reduction")

    susceptible.initial_value = 9990.0
    infected.initial_value = initially_infected
    recovered.initial_value = 0.0
    susceptible.equation = -infection
    infected.equation = infection - recovery
    recovered.equation = recovery
    population.equation = susceptible + infected + recovered
    infection.equation = infectivity * contacts * susceptible * infected / population
    recovery.equation = infected / duration
    return model


def bptk_factory() -> BPTK_Py.bptk:
    bptk = BPTK_Py.bptk()
    bptk.register_scenario_manager({MANAGER: {"model": epidemic()}})
    bptk.register_scenarios(
        scenario_manager=MANAGER,
        scenarios={
            "base": {},
            "no_measures": {"points": {"contact_reduction": [[0.0, 1.0], [120.0, 1.0]]}},
            "masks": {"constants": {"infectivity": 0.03}},
        },
    )
    return bptk
