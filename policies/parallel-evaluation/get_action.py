# Parallel evaluation: play at random; set_reward finds out how other policies would have done.
ARMS = ["control", "treatment"]

arms = inputs.arms(self, ARMS)
self.action["arm"] = random.choice(arms)
self.action["propensity"] = 1 / len(arms)
self.action_probabilities = {arm: 1 / len(arms) for arm in arms}
