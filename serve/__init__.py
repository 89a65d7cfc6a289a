"""The query service: latest prices from Redis, bars from the table and its log; over HTTP, for people and programs."""
