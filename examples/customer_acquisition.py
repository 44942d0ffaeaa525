"""Customer acquisition by advertising and word of mouth, in the SD DSL of bptk-py.

The model of the BptkServer tutorial: consumers are won by advertising and by customers who talk about the
product, until the market is saturated. Time unit: months.
"""

import BPTK_Py
from BPTK_Py import Model
from BPTK_Py import sd_functions as sd

MANAGER = "sddsl_customer_acquisition"


def customer_acquisition() -> Model:
    model = Model(starttime=1.0, stoptime=60.0, dt=1.0, name="customer_acquisition")

    customers = model.stock("customers")
    potential_customers = model.stock("potential_customers")
    acquisition = model.flow("customer_acquisition")
    by_advertising = model.converter("acquisition_through_advertising")
    by_word_of_mouth = model.converter("acquisition_through_word_of_mouth")
    reached_by_advertising = model.converter("consumers_reached_through_advertising")
    reached_by_word_of_mouth = model.converter("consumers_reached_through_word_of_mouth")
    saturation = model.converter("market_saturation")

    initial_customers = model.constant("initial_customers")
    target_market = model.constant("target_market")
    advertising_success = model.constant("advertising_success")
    reached_per_euro = model.constant("consumers_reached_per_euro")
    advertising_budget = model.constant("advertising_budget")
    word_of_mouth_success = model.constant("word_of_mouth_success")
    contact_rate = model.constant("contact_rate")

    initial_customers.equation = 0.0
    target_market.equation = 60000.0
    advertising_success.equation = 0.1
    reached_per_euro.equation = 100.0
    advertising_budget.equation = 100.0
    word_of_mouth_success.equation = 0.01
    contact_rate.equation = 10.0

    customers.initial_value = initial_customers
    potential_customers.initial_value = target_market
    customers.equation = acquisition
    potential_customers.equation = -acquisition

    saturation.equation = customers / target_market
    reached_by_advertising.equation = reached_per_euro * advertising_budget
    by_advertising.equation = advertising_success * reached_by_advertising * (1 - saturation)
    reached_by_word_of_mouth.equation = contact_rate * customers
    by_word_of_mouth.equation = word_of_mouth_success * reached_by_word_of_mouth * (1 - saturation)
    acquisition.equation = sd.min(potential_customers, by_advertising + by_word_of_mouth)
    return model


def bptk_factory() -> BPTK_Py.bptk:
    bptk = BPTK_Py.bptk()
    bptk.register_scenario_manager({MANAGER: {"model": customer_acquisition()}})
    bptk.register_scenarios(
        scenario_manager=MANAGER,
        scenarios={
            "base": {},
            "low_word_of_mouth": {"constants": {"word_of_mouth_success": 0.001}},
            "high_word_of_mouth": {"constants": {"word_of_mouth_success": 0.1}},
            "interactive_scenario": {},
        },
    )
    return bptk
