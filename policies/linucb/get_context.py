# Runs in simulations only: features of the next customer.
FEATURES = 10

self.context["features"] = [random.random() for _ in range(FEATURES)]
