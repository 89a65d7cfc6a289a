"""FEEDS: connections and requests to exchanges, kept up, watched and throttled. They know no trade."""
