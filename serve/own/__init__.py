"""Our own routes: prices, bars with all their columns, and how the service is."""
