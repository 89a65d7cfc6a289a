"""The local stack, set-up and submission: real parts on this machine, without Docker and without root."""
