# Ask each policy what it would have done. Where it agrees with the arm that was played, the reward is one
# that it would have earned: it counts for the policy, and the policy learns from it.
E_FIRST = "id of your E-first experiment"
E_GREEDY = "id of your E-greedy experiment"

arm = inputs.name(self, "action.arm")
reward = inputs.number(self, "reward.value")
for policy in [E_FIRST, E_GREEDY]:
    nested = Experiment(policy)
    suggestion = nested.run_action_code(context=dict(self.context))
    # Experiments from older catalogues have their arm in the field "treatment".
    if suggestion.get("arm", suggestion.get("treatment")) == arm:
        nested.run_reward_code(context=dict(self.context), action=suggestion, reward=self.reward)
        mean = base.Mean(self.get_theta(key="policy", value=policy))
        mean.update(reward)
        self.set_theta(mean, key="policy", value=policy)
