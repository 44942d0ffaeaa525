# KL-UCB: upper confidence bounds that know that the reward lies between 0 and 1.
ARMS = ["a", "b", "c", "d"]
EXTRA = 0.0

import math


def divergence(p, q):
    """Kullback-Leibler divergence of a coin with chance q from one with chance p."""
    total = 0.0
    if p > 0:
        total += p * math.log(p / q)
    if p < 1:
        total += (1 - p) * math.log((1 - p) / (1 - q))
    return total


def upper_bound(p, allowed):
    """The highest chance whose divergence from p is allowed, by bisection."""
    low, high = p, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        if middle < 1 and divergence(p, middle) <= allowed:
            low = middle
        else:
            high = middle
    return low


arms = inputs.arms(self, ARMS)
shares = base.List(self.get_theta(key="arm"), base.Proportion, arms)
total = max(shares.count(), 2)
budget = math.log(total) + EXTRA * math.log(max(math.log(total), 1.0))

bounds = {}
for arm in arms:
    n = shares.base_list[arm].get_count()
    bounds[arm] = upper_bound(shares.base_list[arm].get_value(), budget / n) if n else np.inf

best = [arm for arm in arms if bounds[arm] == max(bounds.values())]
arm = random.choice(best)
self.action["arm"] = arm
self.action["propensity"] = 1 / len(best)
self.action_probabilities = {a: (a in best) / len(best) for a in arms}
