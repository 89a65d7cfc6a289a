"""EXCHANGES: what each one says, in pure functions: frames and history in, trades out. No socket, no clock."""
