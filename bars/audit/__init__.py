"""The audit: bars recomputed from the trades, held to the table and to an exchange's klines, and amended."""
