# Runs in simulations only: the next customer.
self.context["customer"] = random.choice(["new", "returning"])
