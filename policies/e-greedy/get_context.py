# Runs in simulations only: the next context. This policy needs none.
