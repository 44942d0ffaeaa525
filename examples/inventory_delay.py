"""Inventory with a delivery delay, in the SD DSL of bptk-py: orders arrive later than they are placed.

The stock-management structure of Sterman (1989): whoever orders for the gap and forgets what is under way
makes the inventory swing. Time unit: weeks.
"""

import BPTK_Py
from BPTK_Py import Model
from BPTK_Py import sd_functions as sd

MANAGER = "inventory_delay"


def inventory_model() -> Model:
    model = Model(starttime=0.0, stoptime=50.0, dt=1.0, name="inventory")

    inventory = model.stock("inventory")
    on_order = model.stock("on_order")
    orders = model.flow("orders")
    arrivals = model.flow("arrivals")
    shipments = model.flow("shipments")
    demand = model.converter("demand")
    gap = model.converter("gap")

    target = model.constant("target_inventory")
    base_demand = model.constant("base_demand")
    extra_demand = model.constant("extra_demand")
    delivery_delay = model.constant("delivery_delay")
    adjustment_time = model.constant("adjustment_time")
    supply_line_weight = model.constant("supply_line_weight")
    target.equation = 400.0
    base_demand.equation = 100.0
    extra_demand.equation = 20.0
    delivery_delay.equation = 4.0
    adjustment_time.equation = 3.0
    supply_line_weight.equation = 0.0

    inventory.initial_value = 400.0
    on_order.initial_value = 400.0
    demand.equation = base_demand + sd.step(20.0, 5.0) * extra_demand / 20.0
    gap.equation = target - inventory + supply_line_weight * (delivery_delay * demand - on_order)
    orders.equation = sd.max(0.0, demand + gap / adjustment_time)
    arrivals.equation = sd.delay(model, orders, delivery_delay, base_demand)
    shipments.equation = sd.min(demand, inventory)
    inventory.equation = arrivals - shipments
    on_order.equation = orders - arrivals
    return model


def bptk_factory() -> BPTK_Py.bptk:
    bptk = BPTK_Py.bptk()
    bptk.register_scenario_manager({MANAGER: {"model": inventory_model()}})
    bptk.register_scenarios(
        scenario_manager=MANAGER,
        scenarios={"base": {}, "aware": {"constants": {"supply_line_weight": 1.0}}},
    )
    return bptk
