"""The past, computed again from the log: audits of answers, lists of then, explanations."""
