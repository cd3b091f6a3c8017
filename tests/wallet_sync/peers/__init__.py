"""Programs that nobody here wrote, and our passes, our web service and our fake push service held against them."""
