# Nested policies: draw one of several experiments, and let it decide.
E_FIRST = "id of your E-first experiment"
E_GREEDY = "id of your E-greedy experiment"

experiments = [E_FIRST, E_GREEDY]
drawn = random.choice(experiments)

# An arm's probability is that over all experiments: the others tell what they would do with which probability,
# and what they draw is not used.
asked = {one: Experiment(one) for one in experiments}
actions = {one: nested.run_action_code(context=dict(self.context)) for one, nested in asked.items()}
self.action = dict(actions[drawn])
self.action["experiment"] = drawn

told = [nested.action_probabilities for nested in asked.values()]
if "propensity" in self.action:
    self.action["propensity_within"] = self.action.pop("propensity")
if all(told):
    arms = dict.fromkeys(arm for one in told for arm in one)
    mixture = {arm: sum(one.get(arm, 0.0) for one in told) / len(told) for arm in arms}
    self.action_probabilities = mixture
    self.action["propensity"] = next(mixture[arm] for arm in self.action.values() if arm in mixture)
