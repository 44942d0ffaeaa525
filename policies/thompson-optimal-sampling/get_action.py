# Thompson optimal sampling: play the arm whose next observation makes the comparison most precise.
ARMS = ["control", "treatment"]

arms = inputs.arms(self, ARMS)
variances = thmp.ThompsonVarList(self.get_theta(key="arm"), arms)
self.action["arm"] = variances.experimentThompson()
