# Softmax: the better an arm has done, the more often it is played.
ARMS = ["a", "b", "c", "d"]
TEMPERATURE = 0.1
INITIAL = 1.0

arms = inputs.arms(self, ARMS)
means = base.List(self.get_theta(key="arm"), base.Mean, arms)

# An arm that was never played counts as INITIAL, so that it is tried soon.
values = {}
for arm in arms:
    mean = means.base_list[arm]
    values[arm] = mean.get_value() if mean.get_count() else INITIAL

# Only differences count; taking the highest off keeps the exponentials in range.
highest = max(values.values())
weights = {arm: float(np.exp((values[arm] - highest) / TEMPERATURE)) for arm in arms}
total = sum(weights.values())
probabilities = {arm: weights[arm] / total for arm in arms}

arm = random.choices(arms, [probabilities[a] for a in arms])[0]
self.action["arm"] = arm
self.action["propensity"] = probabilities[arm]
self.action_probabilities = probabilities
