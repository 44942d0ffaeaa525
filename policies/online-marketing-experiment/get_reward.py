# Runs in simulations only: who gets a higher discount buys more often, and pays less.
BASKET = 50.0
CONVERSION = 0.1
LIFT = 0.04

discount = self.action["discount"]
bought = random.random() < min(1.0, CONVERSION + LIFT * discount)
self.reward["revenue"] = BASKET * (1 - discount / 100) * bought
