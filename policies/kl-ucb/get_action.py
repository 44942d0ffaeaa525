# KL-UCB: upper confidence bounds that know that the reward lies between 0 and 1.
ARMS = ["a", "b", "c", "d"]
EXTRA = 0.0

from scipy.special import rel_entr


def upper_bounds(p, allowed):
    """The highest chances whose Kullback-Leibler divergences from p are allowed, by bisection."""
    low, high = p, np.ones(len(p))
    for _ in range(30):
        middle = (low + high) / 2
        inside = rel_entr(p, middle) + rel_entr(1 - p, 1 - middle) <= allowed
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low


arms = inputs.arms(self, ARMS)
shares = base.List(self.get_theta(key="arm"), base.Proportion, arms)
total = max(shares.count(), 2)
budget = np.log(total) + EXTRA * np.log(max(np.log(total), 1.0))

# An arm that was never played has a bound above all others.
n = np.array([shares.base_list[arm].get_count() for arm in arms])
p = np.array([shares.base_list[arm].get_value() for arm in arms])
limits = np.where(n > 0, upper_bounds(p, budget / np.maximum(n, 1)), np.inf)
bounds = dict(zip(arms, limits.tolist()))

best = base.greatest(bounds)
arm = random.choice(best)
self.action["arm"] = arm
self.action["propensity"] = 1 / len(best)
self.action_probabilities = dict.fromkeys(arms, 0.0) | dict.fromkeys(best, 1 / len(best))
