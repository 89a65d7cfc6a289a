"""Harm on purpose to the bars job, and the proof that none was done: its tables against a plain reading of the topic.

    load (pure: a seed → records) ─► publish ─► topic ─► the job, killed as schedule (pure: a seed → kills) says
                                                  │                       │
                                     oracle (plain Python) ─► judge (pure) ◄─ tables (a plain Delta reader)

Nothing of `bars/` is used here: the job is a black box with settings, tables and an exit code.
"""
