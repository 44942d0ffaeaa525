# Mean and variance of the arm that was played.
arm = self.action["treatment"]
variance = base.Variance(self.get_theta(key="treatment", value=arm))
variance.update(self.reward["value"])
self.set_theta(variance, key="treatment", value=arm)
