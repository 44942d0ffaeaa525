# Runs in simulations only: the highest discount, in percent, that the next customer may get.
self.context["maxpercentage"] = random.uniform(1, 10)
