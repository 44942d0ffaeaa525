# Runs in simulations only: one of the participants.
PARTICIPANTS = 60

self.context["userid"] = str(random.randrange(PARTICIPANTS))
