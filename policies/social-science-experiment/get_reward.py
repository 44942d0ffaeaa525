# Runs in simulations only: a normal outcome for each condition.
OUTCOMES = {"baseline": 0.0, "random": 0.2, "lockin": 0.5}

self.reward["value"] = random.gauss(OUTCOMES[self.action["condition"]], 1)
self.expected_rewards = OUTCOMES
