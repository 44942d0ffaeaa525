# UCB1: play the arm with the highest upper confidence bound of its mean.
ARMS = ["a", "b", "c", "d"]
EXPLORATION = 2.0

arms = inputs.arms(self, ARMS)
means = base.List(self.get_theta(key="arm"), base.Mean, arms)
total = means.count()

bounds = {}
for arm in arms:
    mean = means.base_list[arm]
    n = mean.get_count()
    bounds[arm] = mean.get_value() + (EXPLORATION * np.log(total) / n) ** 0.5 if n else np.inf

# Several arms may have the highest bound, as all that were never played do: any of them is as good.
best = base.greatest(bounds)
arm = random.choice(best)
self.action["arm"] = arm
self.action["propensity"] = 1 / len(best)
self.action_probabilities = dict.fromkeys(arms, 0.0) | dict.fromkeys(best, 1 / len(best))
