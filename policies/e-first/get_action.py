# E-first: explore first, exploit afterwards.
ARMS = ["control", "treatment"]
PER_ARM = 50

arms = inputs.arms(self, ARMS)
means = base.List(self.get_theta(key="arm"), base.Mean, arms)

if min(means.base_list[arm].get_count() for arm in arms) < PER_ARM:
    candidates = arms
else:
    candidates = means.argmax()

arm = random.choice(candidates)
self.action["arm"] = arm
self.action["propensity"] = 1 / len(candidates)
self.action_probabilities = dict.fromkeys(arms, 0.0) | dict.fromkeys(candidates, 1 / len(candidates))
