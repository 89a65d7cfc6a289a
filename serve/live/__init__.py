"""What runs now: the bars that the table does not have yet, of trades in Redis. Knows no HTTP."""
