"""The raw view: what is in the topic, trade by trade, as a person or a program wants to read it."""
