# Top-two Thompson sampling: compare the arm that seems best with its closest rival.
ARMS = ["a", "b", "c", "d"]
BETA = 0.5
ATTEMPTS = 50

arms = inputs.arms(self, ARMS)
posteriors = thmp.BBThompsonList(self.get_theta(key="arm"), arms)
leader = posteriors.thompson()
arm = leader

# With probability 1 - BETA, draw again until another arm comes first: that is the rival.
if len(arms) > 1 and random.random() >= BETA:
    for _ in range(ATTEMPTS):
        draws = posteriors.draws()
        arm = max(draws, key=draws.get)
        if arm != leader:
            break
    else:
        # The leader hardly ever loses: the rival is who came second in the last draw.
        del draws[leader]
        arm = max(draws, key=draws.get)

self.action["arm"] = arm
