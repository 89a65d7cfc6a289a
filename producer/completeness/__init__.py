"""COMPLETENESS: which trades are there, which are missing, and how those are got: ids, holes, back-fill, resume."""
