# Top-two Thompson sampling: compare the arm that seems best with its closest rival.
ARMS = ["a", "b", "c", "d"]
BETA = 0.5
PRIOR = [1, 1]
LOG_PROPENSITY = False

arms = inputs.arms(self, ARMS)
posteriors = thmp.BBThompsonList(self.get_theta(key="arm"), arms, PRIOR)
leader = posteriors.thompson()
arm = leader

# With probability 1 - BETA, the rival: who comes first in a draw in which the leader does not.
if len(arms) > 1 and random.random() >= BETA:
    arm = posteriors.rival(leader)
self.action["arm"] = arm

# Exact, by numerical integration.
if LOG_PROPENSITY or self.properties.get("log_propensity"):
    self.action_probabilities = posteriors.top_two_propensities(BETA)
    self.action["propensity"] = self.action_probabilities[arm]
