"""Harm on purpose, and the proof that none was done: the producer under kills, restarts and faults of every kind.

    schedule (pure: a seed → timed events) ─► run: broker, simulator and producer as programs of their own
    proxy: toxics on the wire                        │ afterwards
    truth (the simulator's tape) ─► verify (pure) ◄──┴── topic (a plain Kafka consumer)  ─► report

Nothing of the producer's code is used here: it is a black box with settings, a topic and an exit code.
"""
