"""The table of bars, read: its log followed, its newest rows in memory, its past in pages. Knows no HTTP."""
