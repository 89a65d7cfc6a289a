"""Two simulated exchanges on one port, speaking the real protocols: for tests, and for a start without a network.

It is the other side of the wire, so it shares nothing with the producer or the bars: it makes its own trades (`tape`),
computes its own klines (`klines`) and prints both as Binance and Coinbase do.
"""
