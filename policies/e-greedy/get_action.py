# E-greedy: mostly play the best arm, sometimes any arm.
ARMS = ["control", "treatment"]
EPSILON = 0.1

arms = inputs.arms(self, ARMS)
best = base.List(self.get_theta(key="arm"), base.Mean, arms).argmax()

# Any arm may be played to explore; the best ones share the rest.
explore = EPSILON / len(arms)
exploit = (1 - EPSILON) / len(best)
probabilities = dict.fromkeys(arms, explore) | dict.fromkeys(best, explore + exploit)

arm = random.choice(arms if random.random() < EPSILON else best)
self.action["arm"] = arm
self.action["propensity"] = probabilities[arm]
self.action_probabilities = probabilities
