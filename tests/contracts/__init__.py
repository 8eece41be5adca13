"""What every contract of the suite keeps to."""
