# Nested policies: draw one of several experiments, and let it decide.
E_FIRST = "id of your E-first experiment"
E_GREEDY = "id of your E-greedy experiment"

experiments = [E_FIRST, E_GREEDY]
drawn = random.choice(experiments)
self.action = Experiment(drawn).run_action_code(context=dict(self.context))
self.action["experiment"] = drawn

# The probability of this experiment and, within it, of this arm.
if "propensity" in self.action:
    self.action["propensity_within"] = self.action["propensity"]
    self.action["propensity"] /= len(experiments)
