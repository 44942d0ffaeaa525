# The share of successes of the arm that was played.
arm = self.action["treatment"]
share = base.Proportion(self.get_theta(key="treatment", value=arm))
share.update(self.reward["value"])
self.set_theta(share, key="treatment", value=arm)
