# Runs in simulations only: the higher the price, the less likely a purchase; returning customers pay more.
LIMITS = {"new": 4.0, "returning": 7.0}

price = self.action["price"]
chance = 1 / (1 + np.exp(price - LIMITS[self.context["customer"]]))
self.reward["revenue"] = price * float(random.random() < chance)
