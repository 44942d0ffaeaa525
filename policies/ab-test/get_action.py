# A/B test: assign at random until every arm has been observed enough, then play the winner.
ARMS = ["control", "treatment"]
PER_ARM = 100

arms = inputs.arms(self, ARMS)
shares = base.List(self.get_theta(key="arm"), base.Proportion, arms)

if min(shares.base_list[arm].get_count() for arm in arms) < PER_ARM:
    candidates = arms
else:
    candidates = shares.argmax()

arm = random.choice(candidates)
self.action["arm"] = arm
self.action["propensity"] = 1 / len(candidates)
self.action_probabilities = dict.fromkeys(arms, 0.0) | dict.fromkeys(candidates, 1 / len(candidates))
