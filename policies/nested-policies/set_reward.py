# Let the experiment that decided learn from its reward.
E_FIRST = "id of your E-first experiment"
E_GREEDY = "id of your E-greedy experiment"

drawn = inputs.name(self, "action.experiment")
if drawn not in (E_FIRST, E_GREEDY):
    raise ValueError(f"action.experiment: {drawn!r} is none of this experiment's nested experiments")

action = dict(self.action)
if "propensity_within" in action:
    action["propensity"] = action["propensity_within"]
Experiment(drawn).run_reward_code(context=dict(self.context), action=action, reward=self.reward)
