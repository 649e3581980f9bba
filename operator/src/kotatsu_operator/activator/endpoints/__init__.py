"""EndpointSlices and the listeners behind them."""
