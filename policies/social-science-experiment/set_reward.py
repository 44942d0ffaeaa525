# Mean and variance of the outcomes in each condition.
condition = inputs.name(self, "action.condition")
outcomes = base.Variance(self.get_theta(key="condition", value=condition))
outcomes.update(inputs.number(self, "reward.value"))
self.set_theta(outcomes, key="condition", value=condition)
