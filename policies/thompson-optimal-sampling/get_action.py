# Thompson optimal sampling: play the arm whose next observation makes the comparison most precise.
ARMS = ["control", "treatment"]
PRIOR = [0, 0]
LOG_PROPENSITY = False

arms = inputs.arms(self, ARMS)
variances = thmp.ThompsonVarList(self.get_theta(key="arm"), arms, PRIOR)
arm = variances.experimentThompson()
self.action["arm"] = arm

# Exact, by numerical integration.
if LOG_PROPENSITY or self.properties.get("log_propensity"):
    self.action_probabilities = variances.probabilities()
    self.action["propensity"] = self.action_probabilities[arm]
