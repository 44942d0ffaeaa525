# Social science experiment: a participant is assigned to a condition once, and stays in it.
CONDITIONS = ["baseline", "random", "lockin"]

user = inputs.name(self, "context.userid")
assigned = self.get_theta(key="userid", value=user)
if not assigned:
    assigned = {"condition": random.choice(CONDITIONS), "propensity": 1 / len(CONDITIONS)}
    self.set_theta(assigned, key="userid", value=user)
    self.action["note"] = "allocated"

self.action["condition"] = assigned["condition"]
self.action["propensity"] = assigned["propensity"]
