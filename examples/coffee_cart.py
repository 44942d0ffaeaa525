"""A coffee cart for twelve weeks: set the price and the advertising, sell for a week, see what is left.

A model of the engine `python`. `coffee_cart.html` plays it in a browser.
"""

import math
import random

from epicenter import Epicenter

WEEKS = 12
CUP_COST = 0.8
RENT = 450.0

week = 0
price = 2.5
advertising = 100.0
known = 0.25  # share of the town that knows the cart
cash = 1000.0
history = []


def sell():
    """Sell for a week."""
    global week, known, cash
    if week == WEEKS:
        raise ValueError("the season is over: begin a new game")
    if not 0 < price <= 10:
        raise ValueError("the price must be above 0 and at most 10")
    if not 0 <= advertising <= 1000:
        raise ValueError("advertising must be from 0 to 1000 a week")
    week += 1
    known += (1 - known) * (1 - math.exp(-advertising / 600)) - 0.06 * known
    weather = random.gauss(1.0, 0.08)
    cups = max(0, round(2600 * known * math.exp(-0.55 * price) * weather))
    profit = round(cups * (price - CUP_COST) - advertising - RENT, 2)
    cash = round(cash + profit, 2)
    row = {"week": week, "price": price, "advertising": advertising, "cups": cups}
    history.append({**row, "profit": profit, "cash": cash})
    Epicenter.record("week")
    Epicenter.record("cash")
    return history[-1]
