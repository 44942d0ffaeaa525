# Thompson sampling: play each arm with the probability that it is the best one.
ARMS = ["1", "2", "3", "4"]
PRIOR = [1, 1]
LOG_PROPENSITY = False

arms = inputs.arms(self, ARMS)
posteriors = thmp.BBThompsonList(self.get_theta(key="arm"), arms, PRIOR)
arm = posteriors.thompson()
self.action["arm"] = arm

# Exact, by numerical integration.
if LOG_PROPENSITY or self.properties.get("log_propensity"):
    self.action_probabilities = posteriors.propensities()
    self.action["propensity"] = self.action_probabilities[arm]
