"""What reporting knows about forecasts, anomalies and reports; pure, no input or output."""
