"""Upkeep: tables and their logs stay small, beside whoever writes, or when nobody does. Without Spark."""
