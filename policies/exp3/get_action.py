# Exp3: exponential weights on estimated gains, without any assumption on where rewards come from.
ARMS = ["a", "b", "c", "d"]
GAMMA = 0.1

arms = inputs.arms(self, ARMS)
stored = self.get_theta(key="arm")
gains = {arm: stored.get(arm, {}).get("gain", 0.0) for arm in arms}

# Only differences count; taking the highest off keeps the exponentials in range.
highest = max(gains.values())
weights = {arm: float(np.exp(GAMMA / len(arms) * (gains[arm] - highest))) for arm in arms}
total = sum(weights.values())
probabilities = {arm: (1 - GAMMA) * weights[arm] / total + GAMMA / len(arms) for arm in arms}

arm = random.choices(arms, [probabilities[a] for a in arms])[0]
self.action["arm"] = arm
self.action["propensity"] = probabilities[arm]
self.action_probabilities = probabilities
