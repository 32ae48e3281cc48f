"""Source domains for instruction tuning."""
