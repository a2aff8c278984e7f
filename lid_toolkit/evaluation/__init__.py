"""What a system's answers are worth: metrics with intervals, pictures, reports and embedding maps."""
