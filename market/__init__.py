"""The words every part shares: what a trade is, what a bar is, which settings there are, how numbers are told."""
