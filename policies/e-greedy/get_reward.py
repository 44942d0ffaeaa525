# Runs in simulations only: a normal reward for each arm.
MEANS = {"control": 4.0, "treatment": 6.0}
DEVIATIONS = {"control": 1.0, "treatment": 2.0}

arm = self.action["arm"]
self.reward["value"] = random.gauss(MEANS[arm], DEVIATIONS[arm])
self.expected_rewards = MEANS
