"""Inference from decisions that a policy made while it learned: scores, intervals, sequences, posteriors."""
