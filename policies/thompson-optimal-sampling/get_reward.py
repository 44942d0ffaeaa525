# Runs in simulations only: a normal reward for each arm.
MEANS = {"control": 0.0, "treatment": 1.0}
DEVIATIONS = {"control": 1.0, "treatment": 5.0}

arm = self.action["arm"]
self.reward["value"] = random.gauss(MEANS[arm], DEVIATIONS[arm])
self.expected_rewards = MEANS
