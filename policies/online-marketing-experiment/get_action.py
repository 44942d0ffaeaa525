# Online marketing experiment: a random share of the highest discount allowed.
LOWEST = 0.0
HIGHEST = 1.0

split = random.uniform(LOWEST, HIGHEST)
self.action["split"] = split
self.action["discount"] = split * inputs.number(self, "context.maxpercentage", 0, 100)
