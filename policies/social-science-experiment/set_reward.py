# Mean and variance of the outcomes in each condition.
condition = self.action["condition"]
outcomes = base.Variance(self.get_theta(key="condition", value=condition))
outcomes.update(self.reward["value"])
self.set_theta(outcomes, key="condition", value=condition)
