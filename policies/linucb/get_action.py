# LinUCB with disjoint models: a ridge regression for each arm, and its upper confidence bound.
ARMS = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
ALPHA = 0.3
RIDGE = 1.0
TRIALS = 5

# set_reward starts from the same regression: change RIDGE in both. An arm that learned from another number
# of features starts anew.
arms = inputs.arms(self, ARMS)
x = [1.0, *inputs.numbers(self, "context.features")]
stored = self.get_theta(key="arm")

n, mean, variance = lm.RLS.estimates(stored, arms, x, ridge=RIDGE)
bounds = dict(zip(arms, np.where(n >= TRIALS, mean + ALPHA * variance**0.5, np.inf).tolist()))

best = base.greatest(bounds)
arm = random.choice(best)
self.action["arm"] = arm
self.action["propensity"] = 1 / len(best)
self.action_probabilities = dict.fromkeys(arms, 0.0) | dict.fromkeys(best, 1 / len(best))
